/* fdfs/allow.c - see fdfs/allow.h. */
#include "fdfs/allow.h"

#include "lib/mem.h"

int
fdfs_allow_init(struct fdfs_allow *a, const char *const *v, size_t n,
    struct err *e)
{
	*a = (struct fdfs_allow){ 0 };
	if (n > FDFS_ALLOW_MAX)
		return err_set(e, ERR_CONFIG,
		    "allow_hosts: more than %d entries", FDFS_ALLOW_MAX);
	if (n == 0)
		return 0;
	a->nets = mem_zalloc(n * sizeof(*a->nets));
	if (a->nets == NULL)
		return err_set(e, ERR_NO_MEMORY, "allow_hosts");
	for (size_t i = 0; i < n; i++) {
		struct str s = str_trim(str_of(v[i]));

		if (s.len == 0)
			continue;
		if (str_eqz(s, "*")) {
			a->everybody = true;
		} else if (ip_net_parse(s, &a->nets[a->n])) {
			a->n++;
		} else {
			fdfs_allow_fini(a);
			return err_set(e, ERR_CONFIG,
			    "allow_hosts: %s is not an address or network",
			    v[i]);
		}
	}
	return 0;
}

void
fdfs_allow_fini(struct fdfs_allow *a)
{
	mem_free(&a->nets);
	*a = (struct fdfs_allow){ 0 };
}

bool
fdfs_allow_has(const struct fdfs_allow *a, const struct fdfs_addr *peer)
{
	struct ip_addr ip;

	if (a->everybody)
		return true;
	return a->n > 0 && ip_parse(str_of(peer->ip), &ip) &&
	       ip_net_has(a->nets, a->n, &ip);
}
