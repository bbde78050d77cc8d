/* The parser with its planted bug outside of the sandbox: reads one request from standard input, as a server would. */
#include <stdio.h>

#include "picohttpparser.h"
#include "planted.h"

int main(void)
{
    static char bytes[65536];
    struct phr_header headers[64];
    const char *method, *path;
    size_t method_len, path_len, num_headers = 64, len = fread(bytes, 1, sizeof(bytes), stdin);
    int minor;

    if (phr_parse_request(bytes, len, &method, &method_len, &path, &path_len, &minor, headers, &num_headers, 0) <= 0)
        return 2;
    for (size_t i = 0; i < num_headers; ++i)
        planted_header((const unsigned char *)headers[i].name, (uint32_t)headers[i].name_len, (const unsigned char *)headers[i].value,
                       (uint32_t)headers[i].value_len);
    printf("%.*s %.*s\n", (int)method_len, method, (int)path_len, path);
    return 0;
}
