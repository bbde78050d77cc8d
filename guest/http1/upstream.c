/* picohttpparser, as a system header: its warnings are not ours. */
#include <picohttpparser.c>
