/* tracker/choose.c - which node a client is sent to.
 *
 * In turn means: whoever was chosen longest ago (a stamp each, from one
 * counter), so that it stays fair while nodes come and go. */
#include "tracker/core_int.h"

uint64_t
tcore_avail(const struct cmap_node *n)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n->n_paths; i++)
		if (!n->paths[i].is_failed)
			sum += n->paths[i].avail;
	return sum;
}

uint64_t
tcore_total(const struct cmap_node *n)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n->n_paths; i++)
		sum += n->paths[i].total;
	return sum;
}

/* A store path that takes uploads: the node keeps its own reserve on each. */
static bool
is_usable_path(const struct cmap_node *n, size_t i)
{
	return i < n->n_paths && !n->paths[i].is_failed &&
	       n->paths[i].avail > n->reserved;
}

bool
tcore_has_room(const struct tcore *t, const struct cmap_node *n)
{
	if (tcore_avail(n) < t->c.o.reserved)
		return false;
	for (size_t i = 0; i < n->n_paths; i++)
		if (is_usable_path(n, i))
			return true;
	return false;
}

/* --- two addresses --- */

const struct fdfs_addr *
tcore_told(const struct cmap_node *n, const struct fdfs_addr *peer)
{
	struct ip_addr in, out, from;
	bool in_fits, out_fits;

	if (n->outer.ip[0] == '\0')
		return &n->inner;
	if (!ip_parse(str_of(peer->ip), &from) ||
	    !ip_parse(str_of(n->inner.ip), &in) ||
	    !ip_parse(str_of(n->outer.ip), &out))
		return &n->inner;
	in_fits = ip_is_private(&in) == ip_is_private(&from);
	out_fits = ip_is_private(&out) == ip_is_private(&from);
	if (in_fits != out_fits)
		return in_fits ? &n->inner : &n->outer;
	/* Both are as good: the nearer network. */
	return ip_common_bits(&out, &from) > ip_common_bits(&in, &from)
	           ? &n->outer
	           : &n->inner;
}

bool
tcore_fits(const struct fdfs_addr *a, enum fdfs_form form)
{
	return strlen(a->ip) < fdfs_ip_width(form);
}

/* --- candidates --- */

struct pick {
	struct tgroup *g;
	struct tnode *v[NODES_PER_GROUP];
	size_t n;
	size_t active, roomless, unfit; /* of those that are ACTIVE */
};

/* Nodes of @g that may be written to (or read from). */
static void
gather(struct tcore *t, struct tcore_now now, const struct tcore_ask *a,
    struct tgroup *g, bool to_write, struct pick *p)
{
	*p = (struct pick){ .g = g };
	for (size_t i = 0; i < g->n_nodes; i++) {
		struct tnode *n = g->nodes[i];

		if (!tcore_is_active(t, now, n))
			continue;
		p->active++;
		if (to_write && !tcore_has_room(t, &n->n)) {
			p->roomless++;
			continue;
		}
		if (to_write && !n->n.can_write)
			continue;
		if (!tcore_fits(tcore_told(&n->n, &a->peer), a->form)) {
			p->unfit++;
			continue;
		}
		p->v[p->n++] = n;
	}
}

/* Why there is nobody (K2). */
static int
nobody(const struct pick *p, struct err *e)
{
	if (p->unfit > 0)
		return err_set(e, ERR_NOT_IMPLEMENTED,
		    "%s: its addresses are IPv6, ask the wide port",
		    p->g->name);
	if (p->active > 0 && p->roomless == p->active)
		return err_set(e, ERR_NO_SPACE, "%s is full", p->g->name);
	return err_set(e, ERR_RETRY, "%s: no node can serve at present",
	    p->g->name);
}

static void
swap(struct tnode **a, struct tnode **b)
{
	struct tnode *keep = *a;

	*a = *b;
	*b = keep;
}

/* --- uploads --- */

static bool
is_better_to_store(const struct tcore *t, const struct tnode *a,
    const struct tnode *b)
{
	switch (t->c.o.store_server) {
	case TCORE_SERVER_FIRST:
		return false; /* they are in the order of their IDs */
	case TCORE_SERVER_PRIORITY:
		return a->n.priority < b->n.priority;
	default:
		return a->stored < b->stored;
	}
}

static unsigned
choose_path(const struct tcore *t, struct tnode *n)
{
	size_t best = n->n.n_paths;

	for (size_t k = 1; k <= n->n.n_paths; k++) {
		size_t i = (n->path + k) % n->n.n_paths;

		if (!is_usable_path(&n->n, i))
			continue;
		if (best == n->n.n_paths)
			best = i;
		if (t->c.o.store_path == TCORE_PATH_ROUND_ROBIN)
			break;
		if (n->n.paths[i].avail > n->n.paths[best].avail)
			best = i;
	}
	MUST(best < n->n.n_paths); /* tcore_has_room() */
	return n->path = (unsigned)best;
}

/* The group can have all copies at present, as far as is known. */
static bool
has_copies(struct tcore *t, struct tcore_now now, const struct tgroup *g)
{
	size_t there = 0, want = g->n_members > 1 ? 2 : 1;

	for (size_t i = 0; i < g->n_nodes; i++) {
		const struct tnode *n = g->nodes[i];

		if (!n->is_member || tcore_is_away(t, now, n))
			continue;
		there++;
		if (n->n.min_copies > want)
			want = n->n.min_copies;
	}
	return there >= want;
}

/* What a group offers: that of its node with the least room, since each holds
 * all files. */
static uint64_t
group_room(const struct pick *p)
{
	uint64_t least = UINT64_MAX;

	for (size_t i = 0; i < p->n; i++)
		if (tcore_avail(&p->v[i]->n) < least)
			least = tcore_avail(&p->v[i]->n);
	return least;
}

static bool
is_better_group(struct tcore *t, struct tcore_now now, const struct pick *a,
    const struct pick *b)
{
	bool fa = has_copies(t, now, a->g), fb = has_copies(t, now, b->g);
	uint64_t ra, rb;

	if (fa != fb)
		return fa;
	if (t->c.o.store_lookup == TCORE_LOOKUP_BALANCE) {
		ra = group_room(a) >> 20; /* as groups' records show it */
		rb = group_room(b) >> 20;
		if (ra != rb)
			return ra > rb;
	}
	return a->g->stored < b->g->stored;
}

static int
find_group(struct tcore *t, struct tcore_now now, const struct tcore_ask *a,
    struct pick *ret, struct err *e)
{
	bool have = false, any = false, all_full = true;
	struct pick p;

	for (size_t i = 0; i < t->n_groups; i++) {
		gather(t, now, a, t->groups[i], true, &p);
		any = true;
		if (p.n == 0) {
			all_full =
			    all_full && p.active > 0 && p.roomless == p.active;
			continue;
		}
		all_full = false;
		if (!have || is_better_group(t, now, &p, ret))
			*ret = p;
		have = true;
	}
	if (have)
		return 0;
	if (!any)
		return tcore_no_group(t, now, STR_LIT("at all"), e);
	if (all_full)
		return err_set(e, ERR_NO_SPACE, "all groups are full");
	return err_set(e, ERR_RETRY, "no group takes uploads at present");
}

static int
gather_group(struct tcore *t, struct tcore_now now, const struct tcore_ask *a,
    struct str group, bool to_write, struct pick *ret, struct err *e)
{
	struct tgroup *g = tcore_group(t, group);

	if (g == NULL)
		return tcore_no_group(t, now, group, e);
	gather(t, now, a, g, to_write, ret);
	return ret->n > 0 ? 0 : nobody(ret, e);
}

static void
tell(const struct pick *p, const struct tcore_ask *a, struct fdfs_servers *ret)
{
	memset(ret, 0, sizeof(*ret));
	memcpy(ret->group, p->g->name, sizeof(ret->group));
	for (size_t i = 0; i < p->n && i < FDFS_MAX_SERVERS; i++)
		ret->addr[ret->n++] = *tcore_told(&p->v[i]->n, &a->peer);
}

int
tcore_store(struct tcore *t, struct tcore_now now, const struct tcore_ask *a,
    struct str group, bool all, struct fdfs_servers *ret, struct err *e)
{
	struct pick p;
	unsigned path;
	size_t n = 1;
	int rc;

	OBJ_CHECK(t, TCORE_MAGIC);
	if (group.len == 0 && t->c.o.store_lookup == TCORE_LOOKUP_GROUP)
		group = str_of(t->c.o.store_group);
	rc = group.len > 0 ? gather_group(t, now, a, group, true, &p, e)
	                   : find_group(t, now, a, &p, e);
	if (rc < 0)
		return rc;
	for (size_t i = 1; i < p.n; i++)
		if (is_better_to_store(t, p.v[i], p.v[0]))
			swap(&p.v[i], &p.v[0]);
	path = choose_path(t, p.v[0]);
	p.v[0]->stored = p.g->stored = ++t->turn;
	/* The others are told only where that path takes uploads too. */
	for (size_t i = 1; i < p.n && all; i++)
		if (is_usable_path(&p.v[i]->n, path))
			p.v[n++] = p.v[i];
	p.n = n;
	tell(&p, a, ret);
	ret->path = (uint8_t)path;
	return 0;
}

int
tcore_home(struct tcore *t, struct tcore_now now, char ret[FDFS_GROUP_LEN + 1],
    struct err *e)
{
	struct tcore_ask anybody = { .form = FDFS_WIDE };
	struct pick p;
	int rc;

	OBJ_CHECK(t, TCORE_MAGIC);
	if (t->c.o.store_lookup == TCORE_LOOKUP_GROUP) {
		p.g = tcore_group(t, str_of(t->c.o.store_group));
		if (p.g == NULL)
			return tcore_no_group(t, now,
			    str_of(t->c.o.store_group), e);
	} else {
		rc = find_group(t, now, &anybody, &p, e);
		if (rc < 0)
			return rc;
		p.g->stored = ++t->turn;
	}
	memcpy(ret, p.g->name, sizeof(p.g->name));
	return 0;
}

/* --- downloads and changes --- */

static uint32_t
source_of(struct str name)
{
	struct fdfs_file_id id;

	if (fdfs_remote_parse(name, &id, NULL) < 0)
		return 0;
	return id.server;
}

/* A change goes to a node that reaches enough others, if there is one. (One that
 * is full can delete.) */
static void
keep_writers(struct pick *p)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n; i++)
		n += p->v[i]->n.can_write;
	if (n == 0)
		return;
	n = 0;
	for (size_t i = 0; i < p->n; i++)
		if (p->v[i]->n.can_write)
			p->v[n++] = p->v[i];
	p->n = n;
}

int
tcore_fetch(struct tcore *t, struct tcore_now now, const struct tcore_ask *a,
    uint8_t command, struct str group, struct str name,
    struct fdfs_servers *ret, struct err *e)
{
	bool to_source = command == FDFS_FETCH_UPDATE ||
	                 t->c.o.download_server == TCORE_DOWNLOAD_SOURCE;
	uint32_t source = to_source ? source_of(name) : 0;
	struct pick p;
	int rc;

	OBJ_CHECK(t, TCORE_MAGIC);
	rc = gather_group(t, now, a, group, false, &p, e);
	if (rc < 0)
		return rc;
	if (command == FDFS_FETCH_UPDATE)
		keep_writers(&p);
	for (size_t i = 1; i < p.n; i++)
		if (p.v[i]->fetched < p.v[0]->fetched)
			swap(&p.v[i], &p.v[0]);
	for (size_t i = 1; i < p.n && source != 0; i++)
		if (p.v[i]->n.server_id == source)
			swap(&p.v[i], &p.v[0]);
	p.v[0]->fetched = ++t->turn;
	if (command != FDFS_FETCH_ALL || t->c.o.extras == FDFS_EXTRAS_NONE)
		p.n = 1;
	tell(&p, a, ret);
	return 0;
}
