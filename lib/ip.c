/* lib/ip.c - see lib/ip.h. */
#include "lib/ip.h"

#include <arpa/inet.h>
#include <netinet/in.h>

static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

void
ip_of(const struct sockaddr *sa, struct ip_addr *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (sa->sa_family == AF_INET6) {
		struct sockaddr_in6 six;

		memcpy(&six, sa, sizeof(six));
		memcpy(ret->b, &six.sin6_addr, 16);
	} else if (sa->sa_family == AF_INET) {
		struct sockaddr_in four;

		memcpy(&four, sa, sizeof(four));
		memcpy(ret->b, mapped, 12);
		memcpy(ret->b + 12, &four.sin_addr, 4);
	}
}

void
ip_text(const struct ip_addr *ip, char dst[46])
{
	if (memcmp(ip->b, mapped, 12) == 0)
		inet_ntop(AF_INET, ip->b + 12, dst, 46);
	else
		inet_ntop(AF_INET6, ip->b, dst, 46);
}

static bool
parse_plain(struct str s, struct ip_addr *ret)
{
	char z[46];

	if (s.len == 0 || s.len >= sizeof(z))
		return false;
	memcpy(z, s.p, s.len);
	z[s.len] = '\0';
	if (inet_pton(AF_INET6, z, ret->b) == 1)
		return true;
	memcpy(ret->b, mapped, 12);
	return inet_pton(AF_INET, z, ret->b + 12) == 1;
}

bool
ip_parse(struct str s, struct ip_addr *ret)
{
	s = str_trim(s);
	if (s.len > 0 && s.p[0] == '[') {
		ptrdiff_t close = str_chr(s, ']');

		return close > 0 &&
		       parse_plain(str_sub(s, 1, (size_t)close - 1), ret);
	}
	if (parse_plain(s, ret))
		return true;
	return str_chr(s, ':') > 0 && str_chr(s, ':') == str_rchr(s, ':') &&
	       parse_plain(str_sub(s, 0, (size_t)str_chr(s, ':')), ret);
}

bool
ip_net_parse(struct str s, struct ip_net *ret)
{
	struct str addr = str_split(&s, '/');
	uint64_t bits;
	bool is_four;

	addr = str_trim(addr);
	is_four = str_chr(addr, ':') < 0;
	if (!parse_plain(addr, &ret->ip))
		return false;
	ret->bits = 128;
	if (s.p == NULL)
		return true;
	if (!str_to_u64(str_trim(s), is_four ? 32 : 128, &bits))
		return false;
	ret->bits = (unsigned)bits + (is_four ? 96 : 0);
	return true;
}

bool
ip_net_has(const struct ip_net *n, size_t count, const struct ip_addr *ip)
{
	for (size_t i = 0; i < count; i++) {
		unsigned whole = n[i].bits / 8, rest = n[i].bits % 8;
		unsigned diff = 0;

		if (rest > 0)
			diff = (unsigned)(n[i].ip.b[whole] ^ ip->b[whole]) >>
			       (8 - rest);
		if (memcmp(n[i].ip.b, ip->b, whole) == 0 && diff == 0)
			return true;
	}
	return false;
}

bool
ip_is_private(const struct ip_addr *ip)
{
	static const char *const nets[] = { "10.0.0.0/8", "172.16.0.0/12",
		"192.168.0.0/16", "127.0.0.0/8", "169.254.0.0/16",
		"100.64.0.0/10", "fc00::/7", "fe80::/10", "::1" };
	struct ip_net n;

	for (size_t i = 0; i < sizeof(nets) / sizeof(nets[0]); i++) {
		MUST(ip_net_parse(str_of(nets[i]), &n));
		if (ip_net_has(&n, 1, ip))
			return true;
	}
	return false;
}

unsigned
ip_common_bits(const struct ip_addr *a, const struct ip_addr *b)
{
	unsigned n = 0;

	while (n < 128 && ((a->b[n / 8] ^ b->b[n / 8]) >> (7 - n % 8) & 1) == 0)
		n++;
	return n;
}
