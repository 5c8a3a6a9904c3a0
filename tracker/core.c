/* tracker/core.c - see tracker/core.h: what is heard, and its ageing. */
#include "tracker/core_int.h"

#include "lib/log.h"
#include "lib/mem.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

__attribute__((format(printf, 3, 4))) static void
say(struct tcore *t, int level, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	if (t->c.event == NULL)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	t->c.event(t->c.arg, level, text);
}

int
tcore_new(const struct tcore_conf *c, struct tcore_now now, struct tcore **ret,
    struct err *e)
{
	struct tcore *t = mem_zalloc(sizeof(*t));

	if (t == NULL)
		return err_set(e, ERR_NO_MEMORY, "tracker");
	t->magic = TCORE_MAGIC;
	t->c = *c;
	t->start_ms = now.mono_ms;
	t->start_s = now.real_s;
	t->seq = c->seq;
	t->changes = 1;
	*ret = t;
	return 0;
}

static void
node_free(struct tnode *n)
{
	cmap_node_fini(&n->n);
	mem_free(&n);
}

static void
group_free(struct tgroup *g)
{
	for (size_t i = 0; i < g->n_nodes; i++)
		node_free(g->nodes[i]);
	mem_free(&g);
}

void
tcore_free(struct tcore **tp)
{
	struct tcore *t = *tp;

	if (t == NULL)
		return;
	OBJ_CHECK(t, TCORE_MAGIC);
	for (size_t i = 0; i < t->n_groups; i++)
		group_free(t->groups[i]);
	for (size_t i = 0; i < t->n_gates; i++)
		mem_free(&t->gates[i]);
	mem_free(tp);
}

void
tcore_tune(struct tcore *t, const struct tcore_opts *o)
{
	OBJ_CHECK(t, TCORE_MAGIC);
	t->c.o = *o;
	t->seq++;
}

uint64_t
tcore_changes(const struct tcore *t)
{
	OBJ_CHECK(t, TCORE_MAGIC);
	return t->changes;
}

/* --- groups --- */

struct tgroup *
tcore_group(struct tcore *t, struct str name)
{
	for (size_t i = 0; i < t->n_groups; i++)
		if (str_eqz(name, t->groups[i]->name))
			return t->groups[i];
	return NULL;
}

struct tgroup *
tcore_group_make(struct tcore *t, struct str name)
{
	struct tgroup *g = tcore_group(t, name);
	size_t at = t->n_groups;

	if (g != NULL)
		return g;
	if (t->n_groups == FDFS_MAX_GROUPS)
		return NULL;
	g = mem_zalloc(sizeof(*g));
	if (g == NULL)
		return NULL;
	memcpy(g->name, name.p, name.len);
	while (at > 0 && str_cmp(str_of(t->groups[at - 1]->name), name) > 0) {
		t->groups[at] = t->groups[at - 1];
		at--;
	}
	t->groups[at] = g;
	t->n_groups++;
	return g;
}

static void
group_drop(struct tcore *t, struct tgroup *g)
{
	size_t i = 0;

	while (t->groups[i] != g)
		i++;
	memmove(&t->groups[i], &t->groups[i + 1],
	    (t->n_groups - i - 1) * sizeof(t->groups[0]));
	t->n_groups--;
	group_free(g);
	t->seq++;
}

int
tcore_no_group(const struct tcore *t, struct tcore_now now, struct str group,
    struct err *e)
{
	if (now.mono_ms - t->start_ms < 2 * t->c.o.away_ms)
		return err_set(e, ERR_RETRY,
		    "this tracker does not know all groups yet");
	return err_set(e, ERR_NOT_FOUND, "no group " STR_FMT, STR_ARG(group));
}

/* --- nodes --- */

bool
tcore_is_away(const struct tcore *t, struct tcore_now now,
    const struct tnode *n)
{
	return !n->was_heard || now.mono_ms - n->heard_ms > t->c.o.away_ms;
}

bool
tcore_is_active(const struct tcore *t, struct tcore_now now,
    const struct tnode *n)
{
	return n->is_member && n->n.state == FDFS_STATE_ACTIVE &&
	       !tcore_is_away(t, now, n);
}

static struct tnode *
node_find(const struct tgroup *g, const struct id128 *id)
{
	for (size_t i = 0; i < g->n_nodes; i++)
		if (id128_eq(&g->nodes[i]->n.node, id))
			return g->nodes[i];
	return NULL;
}

static bool
node_is_after(const struct tnode *a, const struct tnode *b)
{
	if (a->n.server_id != b->n.server_id)
		return a->n.server_id > b->n.server_id;
	return memcmp(&a->n.node, &b->n.node, sizeof(a->n.node)) > 0;
}

static void
node_insert(struct tgroup *g, struct tnode *n)
{
	size_t at = g->n_nodes;

	MUST(g->n_nodes < NODES_PER_GROUP);
	while (at > 0 && node_is_after(g->nodes[at - 1], n)) {
		g->nodes[at] = g->nodes[at - 1];
		at--;
	}
	g->nodes[at] = n;
	g->n_nodes++;
}

static void
node_take_out(struct tgroup *g, struct tnode *n)
{
	size_t i = 0;

	while (g->nodes[i] != n)
		i++;
	memmove(&g->nodes[i], &g->nodes[i + 1],
	    (g->n_nodes - i - 1) * sizeof(g->nodes[0]));
	g->n_nodes--;
}

/* Room for one more: one that is no member and away gives way. */
static bool
node_room(struct tcore *t, struct tcore_now now, struct tgroup *g)
{
	for (size_t i = 0; i < g->n_nodes && g->n_nodes == NODES_PER_GROUP;
	     i++) {
		struct tnode *n = g->nodes[i];

		if (n->is_member || !tcore_is_away(t, now, n))
			continue;
		node_take_out(g, n);
		node_free(n);
	}
	return g->n_nodes < NODES_PER_GROUP;
}

/* --- membership --- */

static const struct cmap_member *
member_of(const struct tgroup *g, const struct id128 *node)
{
	for (size_t i = 0; i < g->n_members; i++)
		if (id128_eq(&g->members[i].node, node))
			return &g->members[i];
	return NULL;
}

/* A member that is known by the others' word alone. */
static int
node_from_member(struct tgroup *g, const struct cmap_member *m, struct err *e)
{
	struct tnode *n = mem_zalloc(sizeof(*n));

	if (n == NULL)
		return err_set(e, ERR_NO_MEMORY, "tracker: a node");
	n->n.node = m->node;
	n->n.server_id = m->server_id;
	memcpy(n->n.group, g->name, sizeof(n->n.group));
	n->n.inner = m->inner;
	n->n.outer = m->outer;
	n->n.state = FDFS_STATE_OFFLINE;
	snprintf(n->n.reason, sizeof(n->n.reason),
	    "not heard since this tracker started");
	n->is_away = true;
	node_insert(g, n);
	return 0;
}

/* Nodes that are gone make room for members before those are made. */
static void
drop_strangers(struct tgroup *g)
{
	size_t i = 0;

	while (i < g->n_nodes) {
		struct tnode *n = g->nodes[i];

		n->is_member =
		    member_of(g, &n->n.node) != NULL &&
		    (!n->was_heard || id128_eq(&n->n.group_id, &g->id));
		if (!n->is_member && (!n->was_heard || n->is_away)) {
			node_take_out(g, n);
			node_free(n);
		} else {
			i++;
		}
	}
}

int
tcore_adopt(struct tcore *t, struct tgroup *g, const struct id128 *id,
    uint64_t epoch, const struct cmap_member *v, size_t n, struct err *e)
{
	int rc = 0;

	MUST(n > 0 && n <= CMAP_MEMBERS);
	g->id = *id;
	g->epoch = epoch;
	g->n_members = n;
	memcpy(g->members, v, n * sizeof(*v));
	g->founder_until_ms = 0;
	g->n_askers = 0;
	t->changes++;
	t->seq++;
	drop_strangers(g);
	for (size_t i = 0; i < n && rc == 0; i++) {
		struct tnode *node = node_find(g, &v[i].node);

		if (node == NULL && g->n_nodes < NODES_PER_GROUP)
			rc = node_from_member(g, &v[i], e);
		node = node_find(g, &v[i].node);
		if (node != NULL)
			node->is_member = !node->was_heard ||
			                  id128_eq(&node->n.group_id, &g->id);
	}
	return rc;
}

/* K5: is what @n says of its group to be preferred to what is known? */
static bool
is_better(const struct tgroup *g, const struct cmap_node *n)
{
	if (g->n_members == 0)
		return true;
	if (id128_eq(&g->id, &n->group_id))
		return n->epoch > g->epoch;
	if (n->n_members != g->n_members)
		return n->n_members > g->n_members;
	if (n->epoch != g->epoch)
		return n->epoch > g->epoch;
	return memcmp(&n->group_id, &g->id, sizeof(g->id)) < 0;
}

static int
learn_membership(struct tcore *t, struct tgroup *g, const struct cmap_node *n,
    struct err *e)
{
	if (n->n_members == 0 || id128_is_zero(&n->group_id) ||
	    !is_better(g, n))
		return 0;
	if (g->n_members > 0 && !id128_eq(&g->id, &n->group_id))
		say(t, LOG_ERROR,
		    "%s: two groups of that name; going by the one of "
		    "server %" PRIu32,
		    g->name, n->server_id);
	else
		say(t, LOG_INFO, "%s: %zu members in epoch %" PRIu64, g->name,
		    n->n_members, n->epoch);
	return tcore_adopt(t, g, &n->group_id, n->epoch, n->members,
	    n->n_members, e);
}

/* A member's own word about where it is goes into what is saved. */
static void
learn_address(struct tcore *t, struct tgroup *g, const struct cmap_node *n)
{
	for (size_t i = 0; i < g->n_members; i++) {
		struct cmap_member *m = &g->members[i];

		if (!id128_eq(&m->node, &n->node) ||
		    (fdfs_addr_eq(&m->inner, &n->inner) &&
			fdfs_addr_eq(&m->outer, &n->outer)))
			continue;
		m->inner = n->inner;
		m->outer = n->outer;
		t->changes++;
	}
}

/* --- a node speaks --- */

static bool
is_close(uint64_t a, uint64_t b, uint64_t total)
{
	return (a > b ? a - b : b - a) <= total / 256;
}

/* Nothing that a reader of the map would act on. */
static bool
is_same(const struct cmap_node *a, const struct cmap_node *b)
{
	if (a->state != b->state || strcmp(a->reason, b->reason) != 0 ||
	    a->progress != b->progress || a->can_write != b->can_write ||
	    a->is_leader != b->is_leader || a->epoch != b->epoch ||
	    a->term != b->term || a->server_id != b->server_id ||
	    !fdfs_addr_eq(&a->inner, &b->inner) ||
	    !fdfs_addr_eq(&a->outer, &b->outer) ||
	    a->http_port != b->http_port ||
	    strcmp(a->version, b->version) != 0 ||
	    a->started_s != b->started_s || a->priority != b->priority ||
	    a->min_copies != b->min_copies || a->reserved != b->reserved ||
	    (a->lag_bytes == 0) != (b->lag_bytes == 0) ||
	    (a->lag_files == 0) != (b->lag_files == 0) ||
	    a->n_paths != b->n_paths || !id128_eq(&a->group_id, &b->group_id))
		return false;
	for (size_t i = 0; i < a->n_paths; i++)
		if (a->paths[i].is_failed != b->paths[i].is_failed ||
		    a->paths[i].total != b->paths[i].total ||
		    !is_close(a->paths[i].avail, b->paths[i].avail,
			a->paths[i].total))
			return false;
	return true;
}

static int
check_node(const struct cmap_node *n, struct err *e)
{
	if (!fdfs_group_is_valid(str_of(n->group)))
		return err_set(e, ERR_INVALID, "announcement: group");
	if (n->server_id == 0 || n->server_id > 0xFFFFFF)
		return err_set(e, ERR_INVALID, "announcement: server ID");
	if (id128_is_zero(&n->node))
		return err_set(e, ERR_INVALID, "announcement: node ID");
	if (n->inner.ip[0] == '\0' || n->inner.port == 0)
		return err_set(e, ERR_INVALID, "announcement: address");
	if (n->n_members > CMAP_MEMBERS || n->n_paths > CMAP_PATHS)
		return err_set(e, ERR_INVALID, "announcement: counts");
	return 0;
}

/* A node that has changed its group leaves the old one. */
static void
leave_others(struct tcore *t, const struct tgroup *g, const struct id128 *id)
{
	for (size_t i = 0; i < t->n_groups; i++) {
		struct tnode *n = node_find(t->groups[i], id);

		if (t->groups[i] == g || n == NULL || n->is_member)
			continue;
		node_take_out(t->groups[i], n);
		node_free(n);
	}
}

static void
say_back(struct tcore *t, const struct tgroup *g, const struct tnode *old,
    const struct cmap_node *n)
{
	if (old->is_away)
		say(t, LOG_INFO, "%s: server %" PRIu32 " is there (%s)",
		    g->name, n->server_id, fdfs_state_name(n->state));
	else if (old->n.state != n->state)
		say(t, LOG_INFO, "%s: server %" PRIu32 " is %s%s%s", g->name,
		    n->server_id, fdfs_state_name(n->state),
		    n->reason[0] != '\0' ? ": " : "", n->reason);
}

/* The entry of @n's node in @g, in its place of the order. */
static struct tnode *
node_entry(struct tcore *t, struct tcore_now now, struct tgroup *g,
    const struct cmap_node *n)
{
	struct tnode *old = node_find(g, &n->node);

	if (old != NULL) {
		say_back(t, g, old, n);
		node_take_out(g, old);
		return old;
	}
	if (!node_room(t, now, g))
		return NULL;
	old = mem_zalloc(sizeof(*old));
	if (old != NULL) {
		old->is_away = true;
		say_back(t, g, old, n);
	}
	return old;
}

int
tcore_hear_node(struct tcore *t, struct tcore_now now, struct cmap_node *n,
    struct err *e)
{
	struct tnode *entry = NULL;
	struct tgroup *g = NULL;
	int rc = check_node(n, e);

	OBJ_CHECK(t, TCORE_MAGIC);
	if (rc == 0) {
		g = tcore_group_make(t, str_of(n->group));
		if (g == NULL)
			rc = err_set(e, ERR_TOO_BIG, "too many groups");
	}
	if (rc == 0)
		rc = learn_membership(t, g, n, e);
	if (rc == 0) {
		entry = node_entry(t, now, g, n);
		if (entry == NULL)
			rc = err_set(e, ERR_TOO_BIG, "%s: too many nodes",
			    g->name);
	}
	if (rc < 0) {
		cmap_node_fini(n);
		return rc;
	}
	leave_others(t, g, &n->node);
	if (entry->is_away || !is_same(&entry->n, n))
		t->seq++;
	cmap_node_fini(&entry->n);
	entry->n = *n;
	*n = (struct cmap_node){ 0 };
	entry->n.stat.last_heartbeat = now.real_s;
	entry->heard_ms = now.mono_ms;
	entry->n.heard_s = now.real_s;
	entry->was_heard = true;
	entry->is_away = false;
	entry->is_member = member_of(g, &entry->n.node) != NULL &&
	                   id128_eq(&entry->n.group_id, &g->id);
	node_insert(g, entry);
	if (entry->is_member)
		learn_address(t, g, &entry->n);
	return 0;
}

void
tcore_lose_node(struct tcore *t, struct tcore_now now, struct str group,
    const struct id128 *node)
{
	struct tgroup *g = tcore_group(t, group);
	struct tnode *n = g == NULL ? NULL : node_find(g, node);

	OBJ_CHECK(t, TCORE_MAGIC);
	if (n != NULL && !tcore_is_away(t, now, n))
		n->heard_ms = now.mono_ms - t->c.o.away_ms - 1;
}

/* --- gateways and trackers --- */

int
tcore_hear_gate(struct tcore *t, struct tcore_now now,
    const struct cmap_gate *g, struct err *e)
{
	struct tgate *old = NULL;

	OBJ_CHECK(t, TCORE_MAGIC);
	for (size_t i = 0; i < t->n_gates && old == NULL; i++)
		if (id128_eq(&t->gates[i]->g.gate, &g->gate))
			old = t->gates[i];
	if (old == NULL) {
		size_t at = t->n_gates;

		if (t->n_gates == GATES_MAX)
			return err_set(e, ERR_TOO_BIG, "too many gateways");
		old = mem_zalloc(sizeof(*old));
		if (old == NULL)
			return err_set(e, ERR_NO_MEMORY, "gateway");
		while (at > 0 && memcmp(&t->gates[at - 1]->g.gate, &g->gate,
				     sizeof(g->gate)) > 0) {
			t->gates[at] = t->gates[at - 1];
			at--;
		}
		t->gates[at] = old;
		t->n_gates++;
		t->seq++;
	} else if (!fdfs_addr_eq(&old->g.addr, &g->addr) ||
		   !id128_eq(&old->g.index, &g->index) ||
		   old->g.index_epoch != g->index_epoch) {
		t->seq++;
	}
	old->g = *g;
	old->g.heard_s = now.real_s;
	old->heard_ms = now.mono_ms;
	return 0;
}

void
tcore_set_trackers(struct tcore *t, const struct fdfs_addr *v, size_t n)
{
	OBJ_CHECK(t, TCORE_MAGIC);
	MUST(n <= FDFS_MAX_TRACKERS);
	memset(t->trackers, 0, sizeof(t->trackers));
	t->n_trackers = n;
	for (size_t i = 0; i < n; i++)
		t->trackers[i].t.addr = v[i];
	t->seq++;
}

void
tcore_hear_tracker(struct tcore *t, struct tcore_now now, size_t i,
    const struct id128 *id, struct str version, int64_t started_s)
{
	struct ttracker *k = &t->trackers[i];
	size_t max = sizeof(k->t.version) - 1;

	OBJ_CHECK(t, TCORE_MAGIC);
	MUST(i < t->n_trackers);
	if (!k->was_heard || k->is_away || k->t.started_s != started_s)
		t->seq++;
	k->is_away = false;
	version = str_sub(version, 0, max);
	memset(k->t.version, 0, sizeof(k->t.version));
	if (version.len > 0)
		memcpy(k->t.version, version.p, version.len);
	k->t.started_s = started_s;
	k->t.heard_s = now.real_s;
	k->t.is_self = id128_eq(id, &t->c.self);
	k->heard_ms = now.mono_ms;
	k->was_heard = true;
}

/* Somebody wants to found it, as of late. */
static bool
is_asked(const struct tgroup *g, struct tcore_now now)
{
	for (size_t i = 0; i < g->n_askers; i++)
		if (now.mono_ms - g->askers[i].asked_ms <= ASKER_KEEP_MS)
			return true;
	return false;
}

/* --- time --- */

static void
age_nodes(struct tcore *t, struct tcore_now now, struct tgroup *g)
{
	size_t i = 0;

	while (i < g->n_nodes) {
		struct tnode *n = g->nodes[i];
		bool is_away = tcore_is_away(t, now, n);

		if (is_away && !n->is_away) {
			n->is_away = true;
			t->seq++;
			say(t, LOG_WARN,
			    "%s: server %" PRIu32 " (%s) is not heard any more",
			    g->name, n->n.server_id, n->n.inner.ip);
		}
		if (is_away && !n->is_member &&
		    now.mono_ms - n->heard_ms > STRANGER_KEEP_MS) {
			node_take_out(g, n);
			node_free(n);
			t->seq++;
		} else {
			i++;
		}
	}
}

void
tcore_tick(struct tcore *t, struct tcore_now now)
{
	size_t i;

	OBJ_CHECK(t, TCORE_MAGIC);
	for (i = 0; i < t->n_groups;) {
		struct tgroup *g = t->groups[i];

		age_nodes(t, now, g);
		if (g->n_nodes == 0 && g->n_members == 0 &&
		    g->founder_until_ms <= now.mono_ms && !is_asked(g, now))
			group_drop(t, g);
		else
			i++;
	}
	for (i = 0; i < t->n_trackers; i++) {
		struct ttracker *k = &t->trackers[i];

		if (k->is_away || now.mono_ms - k->heard_ms <= t->c.o.away_ms)
			continue;
		k->is_away = true;
		t->seq++;
	}
	for (i = 0; i < t->n_gates;) {
		if (now.mono_ms - t->gates[i]->heard_ms <= GATE_KEEP_MS) {
			i++;
			continue;
		}
		mem_free(&t->gates[i]);
		memmove(&t->gates[i], &t->gates[i + 1],
		    (t->n_gates - i - 1) * sizeof(t->gates[0]));
		t->n_gates--;
		t->seq++;
	}
}

/* --- founding and forgetting --- */

/* Asked @now; those who have not for long are forgotten. */
static void
note_asker(struct tgroup *g, struct tcore_now now, const struct id128 *node,
    uint32_t server_id)
{
	size_t n = 0;

	if (!is_asked(g, now))
		g->wanted_ms = now.mono_ms;
	for (size_t i = 0; i < g->n_askers; i++)
		if (now.mono_ms - g->askers[i].asked_ms <= ASKER_KEEP_MS &&
		    !id128_eq(&g->askers[i].node, node))
			g->askers[n++] = g->askers[i];
	if (n == ASKERS_MAX)
		n--;
	g->askers[n++] = (struct tasker){ *node, server_id, now.mono_ms };
	g->n_askers = n;
}

static bool
is_before(uint32_t server_id, const struct id128 *node, uint32_t other_id,
    const struct id128 *other)
{
	if (server_id != other_id)
		return server_id < other_id;
	return memcmp(node, other, sizeof(*node)) < 0;
}

/* Whoever else is there, belongs to nothing, and comes first. */
static bool
is_first(struct tcore *t, struct tcore_now now, const struct tgroup *g,
    const struct id128 *node, uint32_t server_id)
{
	for (size_t i = 0; i < g->n_askers; i++)
		if (is_before(g->askers[i].server_id, &g->askers[i].node,
			server_id, node))
			return false;
	for (size_t i = 0; i < g->n_nodes; i++) {
		const struct cmap_node *n = &g->nodes[i]->n;

		if (n->n_members == 0 && !tcore_is_away(t, now, g->nodes[i]) &&
		    is_before(n->server_id, &n->node, server_id, node))
			return false;
	}
	return true;
}

int
tcore_found(struct tcore *t, struct tcore_now now, struct str group,
    const struct id128 *node, uint32_t server_id, struct err *e)
{
	bool is_his; /* leave that was given before */
	struct tgroup *g;

	OBJ_CHECK(t, TCORE_MAGIC);
	if (!fdfs_group_is_valid(group) || id128_is_zero(node))
		return err_set(e, ERR_INVALID, "group or node");
	g = tcore_group_make(t, group);
	if (g == NULL)
		return err_set(e, ERR_TOO_BIG, "too many groups");
	if (g->n_members > 0)
		return err_set(e, ERR_EXISTS,
		    "%s has %zu members: join it, or forget it first", g->name,
		    g->n_members);
	note_asker(g, now, node, server_id);
	if (now.mono_ms - t->start_ms < t->c.o.away_ms)
		return err_set(e, ERR_RETRY,
		    "this tracker has just started and listens first");
	is_his =
	    now.mono_ms < g->founder_until_ms && id128_eq(&g->founder, node);
	if (!is_his && now.mono_ms < g->founder_until_ms)
		return err_set(e, ERR_BUSY, "another node is founding %s",
		    g->name);
	if (!is_his && now.mono_ms - g->wanted_ms < TCORE_GATHER_MS)
		return err_set(e, ERR_RETRY, "waits whether others want to");
	if (!is_first(t, now, g, node, server_id))
		return err_set(e, ERR_BUSY,
		    "a node with a lower server ID may found %s", g->name);
	if (!is_his)
		say(t, LOG_INFO, "%s: server %" PRIu32 " may found it", g->name,
		    server_id);
	g->founder = *node;
	g->founder_until_ms = now.mono_ms + TCORE_FOUND_MS;
	return 0;
}

static bool
is_group_heard(struct tcore *t, struct tcore_now now, const struct tgroup *g)
{
	for (size_t i = 0; i < g->n_nodes; i++)
		if (g->nodes[i]->is_member &&
		    !tcore_is_away(t, now, g->nodes[i]))
			return true;
	return false;
}

static int
forget_node(struct tcore *t, struct tgroup *g, uint32_t server_id,
    struct err *e)
{
	bool any = false;
	size_t i = 0;

	for (i = 0; i < g->n_members; i++)
		if (g->members[i].server_id == server_id)
			return err_set(e, ERR_BUSY,
			    "server %" PRIu32
			    " is a member of %s: remove it from the group "
			    "first",
			    server_id, g->name);
	for (i = 0; i < g->n_nodes;) {
		struct tnode *n = g->nodes[i];

		if (n->n.server_id != server_id) {
			i++;
			continue;
		}
		any = true;
		node_take_out(g, n);
		node_free(n);
	}
	t->seq++;
	return any ? 0
	           : err_set(e, ERR_NOT_FOUND, "no server %" PRIu32 " in %s",
			 server_id, g->name);
}

int
tcore_forget(struct tcore *t, struct tcore_now now, struct str group,
    uint32_t server_id, struct err *e)
{
	struct tgroup *g;

	OBJ_CHECK(t, TCORE_MAGIC);
	g = tcore_group(t, group);
	if (g == NULL)
		return err_set(e, ERR_NOT_FOUND, "no group " STR_FMT,
		    STR_ARG(group));
	if (server_id != 0)
		return forget_node(t, g, server_id, e);
	if (is_group_heard(t, now, g))
		return err_set(e, ERR_BUSY, "%s has members that are there",
		    g->name);
	say(t, LOG_WARN, "%s: forgotten by an administrator", g->name);
	t->changes++;
	group_drop(t, g);
	return 0;
}
