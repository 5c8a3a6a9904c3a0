/* http/address.c - addresses of peers, proxies and listeners.
 * Pure functions, but for name resolution in http_address_add(). */
#include "http/internal.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <unistd.h>

void
http_address_text(const struct sockaddr *sa, char dst[64])
{
	struct sockaddr_in6 six;
	struct sockaddr_in four;
	char host[46];

	if (sa->sa_family == AF_INET6) {
		memcpy(&six, sa, sizeof(six));
		inet_ntop(AF_INET6, &six.sin6_addr, host, sizeof(host));
		snprintf(dst, 64, "[%s]:%u", host, ntohs(six.sin6_port));
	} else {
		memcpy(&four, sa, sizeof(four));
		inet_ntop(AF_INET, &four.sin_addr, host, sizeof(host));
		snprintf(dst, 64, "%s:%u", host, ntohs(four.sin_port));
	}
}

/* --- listeners --- */

/* Can this machine listen on IPv6 at all? (Containers often can't.) */
static bool
has_ipv6(const struct sockaddr *sa, socklen_t len)
{
	struct sockaddr_in6 any;
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool ok;

	if (fd < 0)
		return false;
	memset(&any, 0, sizeof(any));
	any.sin6_family = AF_INET6;
	any.sin6_addr = in6addr_any;
	if (sa != NULL && len == sizeof(any)) {
		memcpy(&any, sa, sizeof(any));
		any.sin6_port = 0;
	}
	ok = bind(fd, (const struct sockaddr *)&any, sizeof(any)) == 0;
	close(fd);
	return ok;
}

static int
add_one(struct buf *list, const char *text, const char *suffix)
{
	return buf_addf(list, "%s%s%s", list->len > 0 ? "," : "", text, suffix);
}

static int
add_resolved(struct buf *list, const char *host, unsigned port,
    const char *suffix, const char *address, struct err *e)
{
	struct addrinfo hints = { .ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_PASSIVE };
	struct addrinfo *all = NULL;
	unsigned added = 0;
	int rc = getaddrinfo(host, NULL, &hints, &all);

	if (rc != 0)
		return err_set(e, ERR_CONFIG, "address %s: %s", address,
		    gai_strerror(rc));
	rc = 0;
	for (struct addrinfo *a = all; a != NULL && rc == 0; a = a->ai_next) {
		char text[64];
		struct sockaddr_in6 six;
		struct sockaddr_in four;

		if (a->ai_family == AF_INET6 &&
		    has_ipv6(a->ai_addr, a->ai_addrlen)) {
			memcpy(&six, a->ai_addr, sizeof(six));
			six.sin6_port = htons((uint16_t)port);
			http_address_text((struct sockaddr *)&six, text);
		} else if (a->ai_family == AF_INET) {
			memcpy(&four, a->ai_addr, sizeof(four));
			four.sin_port = htons((uint16_t)port);
			http_address_text((struct sockaddr *)&four, text);
		} else {
			continue;
		}
		rc = add_one(list, text, suffix);
		added++;
	}
	freeaddrinfo(all);
	if (rc < 0)
		return err_set(e, rc, "too many addresses");
	if (added == 0)
		return err_set(e, ERR_CONFIG,
		    "address %s: IPv6 is off on this machine", address);
	return 0;
}

int
http_address_add(struct buf *list, const char *address, bool tls, struct err *e)
{
	struct str s = str_of(address), host, port_text;
	ptrdiff_t colon = str_rchr(s, ':');
	const char *suffix = tls ? "s" : "";
	char name[256], text[16];
	uint64_t port;

	if (colon < 0)
		return err_set(e, ERR_CONFIG,
		    "address %s: not of the form [HOST]:PORT", address);
	host = str_sub(s, 0, (size_t)colon);
	port_text = str_skip(s, (size_t)colon + 1);
	if (!str_to_u64(port_text, 65535, &port) || host.len >= sizeof(name))
		return err_set(e, ERR_CONFIG,
		    "address %s: not of the form [HOST]:PORT", address);
	if (host.len >= 2 && host.p[0] == '[' && host.p[host.len - 1] == ']')
		host = str_sub(host, 1, host.len - 2);
	else if (str_chr(host, ':') >= 0)
		return err_set(e, ERR_CONFIG,
		    "address %s: an IPv6 address stands in brackets", address);
	if (host.len == 0 || str_eqz(host, "*") || str_eqz(host, "::")) {
		/* Both families on one socket where there is IPv6. */
		int rc;

		if (!has_ipv6(NULL, 0) && str_eqz(host, "::"))
			return err_set(e, ERR_CONFIG,
			    "address %s: IPv6 is off on this machine", address);
		snprintf(text, sizeof(text), "%s%u",
		    has_ipv6(NULL, 0) ? "+" : "", (unsigned)port);
		rc = add_one(list, text, suffix);
		return rc < 0 ? err_set(e, rc, "too many addresses") : 0;
	}
	memcpy(name, host.p, host.len);
	name[host.len] = '\0';
	return add_resolved(list, name, (unsigned)port, suffix, address, e);
}
