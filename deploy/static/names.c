/* Linked into the static binary only: whatever nsswitch.conf says, names of users, ports and hosts come from files (/etc/passwd,
 * /etc/services, /etc/hosts, where they exist). Without it glibc would load the modules that nsswitch.conf names (libnss_*.so) from the
 * machine, of another version than the glibc in here, and ask the network for the hosts in a capture filter. */
#include <nss.h>
#include <stddef.h>

__attribute__((constructor)) static void names_come_from_files(void)
{
    static const char *const databases[] = {"passwd", "group", "hosts", "services", "protocols", "networks", "ethers"};
    for (size_t i = 0; i < sizeof databases / sizeof *databases; i++)
        __nss_configure_lookup(databases[i], "files");
}
