# An image that holds nothing but the static binary. From the root of the repository, after `make static`:
#   docker build -f deploy/docker/scratch.Dockerfile -t picotap:static target/static
#   docker run --rm --network host --cap-drop ALL --cap-add NET_RAW --cap-add SETUID --cap-add SETGID --cap-add SETPCAP picotap:static -i any
# picotap starts as root here, since there is no file capability, and becomes nobody once the interfaces are open.
# Not tried with a container engine; the soak runs the binary in an empty root.
FROM scratch
COPY picotap /picotap
EXPOSE 9464
STOPSIGNAL SIGTERM
ENTRYPOINT ["/picotap"]
CMD ["--help"]
