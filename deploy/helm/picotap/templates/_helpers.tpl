{{- define "picotap.name" -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "picotap.selector" -}}
app.kubernetes.io/name: picotap
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "picotap.labels" -}}
{{ include "picotap.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "picotap.priority" -}}
{{- if .Values.priorityClass.create -}}
{{- .Values.priorityClass.name | default (include "picotap.name" .) -}}
{{- else -}}
{{- .Values.priorityClass.name -}}
{{- end -}}
{{- end -}}

{{/* MiB that picotap takes at the most, as it prints them at its start: memory limit, slots (2/3 MiB each), 18 for each sandbox, 69
for each interface (fragments and the kernel's ring), 80 for lines, code and the rest; and a tenth more. */}}
{{- define "picotap.memory" -}}
{{- $workers := int .Values.workers -}}
{{- $captures := len .Values.interfaces -}}
{{- $queues := max 256 (mul 32 $workers) -}}
{{- $slots := div (mul (add $queues (mul $workers (add 3 (mul 2 $captures)))) 2) 3 -}}
{{- $all := add (int .Values.memoryLimit) $slots (mul 18 $workers) (mul 69 $captures) 80 -}}
{{- div (mul $all 11) 10 -}}
{{- end -}}
