/* lib/ip.h - IP addresses and networks, both families in one form.
 * Pure functions; threads: any. */
#ifndef LIB_IP_H
#define LIB_IP_H

#include "lib/err.h"
#include "lib/str.h"

struct ip_addr {
	uint8_t b[16]; /* IPv4 as ::ffff:a.b.c.d */
};
struct ip_net {
	struct ip_addr ip;
	unsigned bits; /* of 128 */
};
struct sockaddr;

/* Neither family: all zero. */
void ip_of(const struct sockaddr *sa, struct ip_addr *ret);
void ip_text(const struct ip_addr *ip, char dst[46]);
/* An address, also with a port ("1.2.3.4:5", "[::1]:5"). */
bool ip_parse(struct str s, struct ip_addr *ret);
/* "10.0.0.0/8", or one address. */
bool ip_net_parse(struct str s, struct ip_net *ret);
bool ip_net_has(const struct ip_net *n, size_t count, const struct ip_addr *ip);
/* Not routed on the Internet: private, shared, loopback, link-local. */
bool ip_is_private(const struct ip_addr *ip);
/* Leading bits that are the same, of 128. */
unsigned ip_common_bits(const struct ip_addr *a, const struct ip_addr *b);

#endif
