/* tests/unit/files/test_sim_files.c - what FastDFS's clients do to the files of a
 * group in the simulation, while two of its nodes do not reach each other.
 *
 * Each client has files of its own, which it changes through whatever node, one
 * change after the other. Checked over all histories:
 * K1  What was acknowledged is there once, in its order, and nothing that was
 *     done later is undone by an earlier call that arrives late; what failed is
 *     there at most once. A call whose node was killed under it has no answer:
 *     what the node had sent may still be on its way, and be done, once, within
 *     LATE_MS (F6).
 * K2  While all nodes are up and no more than one pair of a group of three or
 *     more is cut, and was a second ago, every change and every read of every
 *     node succeeds, within WITHIN_MS.
 * K3  A leader whose disk has failed, or that hangs, is followed by another one,
 *     within FOLLOW_MS for those who ask other nodes.
 * Tame schedules cut one pair at a time, or have the leader fail; wild ones kill and
 * restart nodes, and lose and delay messages, too: K1 alone.
 * CREEL_SIM_SEED=N runs one schedule (CREEL_SIM_TRACE=1 tells it), CREEL_SIM_RUNS=N
 * so many; CREEL_FULL=1 two thousand, with sanitizers sixty. */
#include "storage/files/files.h"
#include "tests/unit/replication/sim_group.h"

#include "lib/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum {
	CLIENTS = 4,
	PIECES = 2000,
	PIECE = 10,
	OPEN = 8,
	WITHIN_MS = 2000, /* 1 s of silence, and what the change itself takes */
	FOLLOW_MS = 3000, /* an election */
	LATE_MS = FILES_OPEN_MS + 10000, /* and to its end */
};

struct log { /* an appender */
	char name[FDFS_REMOTE_MAX + 1];
	size_t n;
	bool acked[PIECES];
};

struct chaos;

struct client {
	struct chaos *c;
	int no;
	struct log log;
	unsigned meta, meta_acked; /* the last that was tried; acknowledged */
	int64_t acked_ms;          /* when that one began */
	struct {                   /* set_meta()s that nobody answered */
		unsigned meta;
		int64_t ms; /* when they began */
	} open[OPEN];
	size_t n_open;
	unsigned late; /* one of these, done since meta_acked; or 0 */
	char slave[FDFS_REMOTE_MAX + 1];
	unsigned slaves;
	bool slave_is_there;
};

struct chaos {
	struct sim *s;
	struct sim_group g;
	struct client clients[CLIENTS];
	bool is_wild, is_over, clients_stop;
	int clients_left;
	int ailing; /* the leader that has failed; -1: none */
	int64_t slowest, slowest_follow;
	unsigned changes, refused, reads;
};

/* --- the files of a node --- */

static void
opened(struct sim_member *v)
{
	struct rep_env env;
	struct files_conf c = { .rep = v->r,
		.members = v->m,
		.group = "group1",
		.small_limit = 1024 * 1024 };
	struct files *f = NULL;

	sim_env(v->g->s, v->node, &env);
	c.env = env;
	MUST(files_open(&c, &f, NULL) == 0);
	v->more = f;
}

static void
closing(struct sim_member *v)
{
	struct files *f = v->more;

	v->more = NULL;
	files_close(&f);
}

static int
file_op(void *arg, const struct rpc_from *from, const struct rpc_request *q,
    struct rpc_answer *a, struct err *e)
{
	struct sim_member *v = arg;

	return v->more == NULL ? err_set(e, ERR_BUSY, "starting")
	                       : files_serve(v->more, from, q, a, e);
}

/* --- clients --- */

struct call { /* one of a client's, at a node */
	struct client *cl;
	struct files *f;
	const char *what;
	int node;
	int64_t begin;
};

static bool
call_begin(struct client *cl, const char *what, struct call *ret)
{
	struct chaos *c = cl->c;
	int node = (int)sim_below(c->s, (uint64_t)c->g.n);

	if (node == c->ailing || !c->g.v[node].is_open ||
	    !sim_enter(c->s, node))
		return false;
	*ret = (struct call){ .cl = cl,
		.f = c->g.v[node].more,
		.what = what,
		.node = node,
		.begin = sim_now(c->s) };
	return true;
}

/* K2 */
static void
call_end(struct call *x, int rc, const struct err *e)
{
	struct chaos *c = x->cl->c;
	int64_t took = sim_now(c->s) - x->begin;

	sim_leave(c->s, x->node);
	sim_trace(c->s, "client %d: %s at %d: %s %s, %jd ms", x->cl->no,
	    x->what, x->node, rc == 0 ? "ok" : err_name(rc),
	    rc == 0 ? "" : e->msg, (intmax_t)took);
	c->refused += rc != 0;
	if (c->is_wild)
		return;
	if (rc != 0)
		sim_fail(c->s, "K2: %s at node %d: %s %s", x->what, x->node,
		    err_name(rc), e->msg);
	if (c->ailing >= 0 && took > c->slowest_follow)
		c->slowest_follow = took;
	else if (c->ailing < 0 && took > c->slowest)
		c->slowest = took;
	if (took > (c->ailing >= 0 ? FOLLOW_MS : WITHIN_MS))
		sim_fail(c->s, "%s: %s at node %d took %jd ms",
		    c->ailing >= 0 ? "K3" : "K2", x->what, x->node,
		    (intmax_t)took);
}

struct given {
	const char *p;
	size_t left;
};

static int
give(void *arg, void *p, size_t len, size_t *ret, struct err *e)
{
	struct given *g = arg;

	(void)e;
	*ret = len < g->left ? len : g->left;
	if (*ret > 0)
		memcpy(p, g->p, *ret);
	g->p += *ret;
	g->left -= *ret;
	return 0;
}

static void
do_append(struct client *cl)
{
	struct log *l = &cl->log;
	struct engine_file_info info;
	struct given g = { 0 };
	struct err e = ERR_INIT;
	char piece[40];
	struct call x;
	int rc;

	if (l->n == PIECES || !call_begin(cl, "append", &x))
		return;
	if (l->name[0] == '\0') {
		rc = files_upload(x.f, -1, true, STR_LIT("log"), 0, give, &g,
		    &info, &e);
		call_end(&x, rc, &e);
		if (rc == 0)
			snprintf(l->name, sizeof(l->name), "%.*s",
			    (int)sizeof(l->name) - 1, info.id + 7);
		return;
	}
	snprintf(piece, sizeof(piece), "%d:%07zu;", cl->no, l->n);
	g = (struct given){ piece, PIECE };
	rc = files_append(x.f, str_of(l->name), PIECE, give, &g, &e);
	call_end(&x, rc, &e);
	l->acked[l->n++] = rc == 0;
	cl->c->changes += rc == 0;
}

/* The whole of a file, as @node has it. */
static int
read_file(struct files *f, const char *name, struct buf *ret, struct err *e)
{
	struct files_reader *r = NULL;
	struct files_info info;
	size_t n = 0;
	int rc = files_reader_open(f, str_of(name), &r, &info, e);

	if (rc < 0)
		return rc;
	MUST(buf_reserve(ret, (size_t)info.size + 1) == 0);
	while (rc == 0 && ret->len < info.size) {
		rc = files_reader_read(r, ret->len, ret->p + ret->len,
		    (size_t)info.size - ret->len, &n, e);
		MUST(rc < 0 || n > 0);
		ret->len += rc == 0 ? n : 0;
	}
	files_reader_close(&r);
	return rc;
}

/* The number of the piece at @at; -1. */
static int
piece_at(const struct client *cl, struct str got, size_t at)
{
	char piece[40];
	uint64_t n;

	if (got.len < at + PIECE ||
	    !str_to_u64(str_mem(got.p + at + 2, PIECE - 3), PIECES, &n))
		return -1;
	snprintf(piece, sizeof(piece), "%d:%07u;", cl->no, (unsigned)n);
	return memcmp(piece, got.p + at, PIECE) == 0 && n < cl->log.n ? (int)n
	                                                              : -1;
}

/* K1 */
static void
check_log(struct client *cl, struct str got)
{
	struct chaos *c = cl->c;
	const struct log *l = &cl->log;
	bool seen[PIECES] = { false };
	int last = -1, n;
	size_t at, i;

	for (at = 0; at < got.len; at += PIECE) {
		n = piece_at(cl, got, at);
		if (n < 0 || seen[n] || (l->acked[n] && n < last))
			sim_fail(c->s,
			    "K1: piece %d at %zu of client %d's log, after %d",
			    n, at, cl->no, last);
		seen[n] = true;
		last = l->acked[n] ? n : last;
	}
	for (i = 0; i < l->n; i++) {
		if (l->acked[i] && !seen[i])
			sim_fail(c->s,
			    "K1: piece %zu of client %d's log is lost", i,
			    cl->no);
	}
}

static void
do_read(struct client *cl)
{
	struct buf b = BUF_CAP(PIECES * PIECE + 1);
	struct err e = ERR_INIT;
	struct call x;
	int rc;

	if (cl->log.name[0] == '\0' || !call_begin(cl, "read", &x))
		return;
	rc = read_file(x.f, cl->log.name, &b, &e);
	call_end(&x, rc, &e);
	if (rc == 0)
		check_log(cl, buf_str(&b));
	cl->c->reads += rc == 0;
	buf_fini(&b);
}

static void
do_set_meta(struct client *cl)
{
	struct err e = ERR_INIT;
	char meta[40];
	struct call x;
	int rc;

	if (cl->log.name[0] == '\0' || !call_begin(cl, "set_meta", &x))
		return;
	snprintf(meta, sizeof(meta), "n\2%u", ++cl->meta);
	rc = files_set_meta(x.f, str_of(cl->log.name), 'O', str_of(meta), &e);
	call_end(&x, rc, &e);
	if (rc == 0) {
		cl->meta_acked = cl->meta;
		cl->acked_ms = x.begin;
		cl->late = 0;
	} else if (rc == ERR_CLOSED && cl->n_open < OPEN) {
		cl->open[cl->n_open].meta = cl->meta;
		cl->open[cl->n_open++].ms = x.begin;
	}
	cl->c->changes += rc == 0;
}

/* K1: what may be read. */
static bool
is_meta(struct client *cl, uint64_t n)
{
	if (n > cl->meta)
		return false;
	for (size_t i = 0; i < cl->n_open; i++) {
		if (cl->open[i].meta == n) { /* done: not once more */
			if (n < cl->meta_acked &&
			    cl->acked_ms > cl->open[i].ms + LATE_MS)
				return false;
			cl->open[i] = cl->open[--cl->n_open];
			if (n < cl->meta_acked)
				cl->late = (unsigned)n;
			return true;
		}
	}
	if (n == cl->meta_acked)
		return cl->late == 0; /* else it was overwritten */
	return n > cl->meta_acked || n == cl->late;
}

static void
do_get_meta(struct client *cl)
{
	struct buf b = BUF_CAP(1000);
	struct err e = ERR_INIT;
	struct call x;
	uint64_t n = 0;
	int rc;

	if (cl->meta_acked == 0 || !call_begin(cl, "get_meta", &x))
		return;
	rc = files_get_meta(x.f, str_of(cl->log.name), &b, &e);
	call_end(&x, rc, &e);
	if (rc == 0 &&
	    (b.len < 3 ||
		!str_to_u64(str_skip(buf_str(&b), 2), UINT32_MAX, &n) ||
		!is_meta(cl, n)))
		sim_fail(cl->c->s, "K1: metadata %ju, but %u was acknowledged",
		    (uintmax_t)n, cl->meta_acked);
	cl->c->reads += rc == 0;
	buf_fini(&b);
}

/* A slave's name comes again after its delete: neither must be done late. */
static void
do_slave(struct client *cl)
{
	struct err e = ERR_INIT;
	char prefix[17], text[20], name[FDFS_REMOTE_MAX + 1];
	struct given g = { text, 0 };
	struct call x;
	int rc;

	if (cl->log.name[0] == '\0')
		return;
	snprintf(prefix, sizeof(prefix), "-s%d", cl->no);
	if (!call_begin(cl, cl->slave_is_there ? "delete" : "slave", &x))
		return;
	if (cl->slave_is_there) {
		rc = files_delete(x.f, str_of(cl->slave), &e);
	} else {
		snprintf(text, sizeof(text), "slave %u", ++cl->slaves);
		g.left = strlen(text);
		rc = files_upload_slave(x.f, str_of(cl->log.name),
		    str_of(prefix), STR_LIT("log"), g.left, give, &g, name, &e);
		if (rc == 0)
			snprintf(cl->slave, sizeof(cl->slave), "%s", name);
	}
	call_end(&x, rc, &e);
	cl->c->changes += rc == 0;
	if (rc == 0)
		cl->slave_is_there = !cl->slave_is_there;
	else /* who knows: another file's slave from now on */
		*cl = (struct client){ .c = cl->c, .no = cl->no };
}

/* Of a node that has caught up: a slave is read where it lies. */
static void
check_slave(struct client *cl)
{
	struct buf b = BUF_CAP(1000);
	struct err e = ERR_INIT;
	char want[20];
	struct call x;
	bool is_there = cl->slave_is_there;
	int rc;

	if (cl->slave[0] == '\0' || !call_begin(cl, "read slave", &x))
		return;
	rc = read_file(x.f, cl->slave, &b, &e);
	if (!is_there && rc == 0)
		sim_fail(cl->c->s, "K1: client %d's deleted slave %s is at %d",
		    cl->no, cl->slave, x.node);
	if (is_there && rc == ERR_NOT_FOUND)
		sim_fail(cl->c->s, "K1: client %d's slave %s is not at %d",
		    cl->no, cl->slave, x.node);
	call_end(&x, rc == ERR_NOT_FOUND ? 0 : rc, &e);
	snprintf(want, sizeof(want), "slave %u", cl->slaves);
	if (rc == 0 && !str_eqz(buf_str(&b), want))
		sim_fail(cl->c->s, "K1: %s is '" STR_FMT "'", want,
		    STR_ARG(buf_str(&b)));
	cl->c->reads += rc == 0;
	buf_fini(&b);
}

static void
client(void *arg)
{
	struct client *cl = arg;
	struct chaos *c = cl->c;
	uint64_t x;

	while (!c->clients_stop) {
		x = sim_below(c->s, 100);
		if (x < 40)
			do_append(cl);
		else if (x < 55)
			do_set_meta(cl);
		else if (x < 70)
			do_slave(cl);
		else if (x < 85)
			do_read(cl);
		else
			do_get_meta(cl);
		sim_sleep(c->s, (int64_t)sim_below(c->s, 150));
	}
	c->clients_left--;
}

/* --- the director --- */

/* All know who leads, and have for a while. */
static void
settle(struct chaos *c)
{
	if (!sim_group_reunite(&c->g))
		sim_fail(c->s, "not ACTIVE");
	sim_sleep(c->s, 3000);
}

static void
run_clients(struct chaos *c)
{
	c->clients_stop = false;
	c->clients_left = CLIENTS;
	for (int i = 0; i < CLIENTS; i++)
		sim_spawn(c->s, SIM_OUTSIDE, client, &c->clients[i]);
}

static void
end_clients(struct chaos *c)
{
	c->clients_stop = true;
	while (c->clients_left > 0)
		sim_sleep(c->s, 50);
}

/* Two nodes, in three of four cases the leader one of them. */
static void
draw_pair(struct chaos *c, int *a, int *b)
{
	int leader = sim_group_leader(&c->g);

	*a = leader >= 0 && !sim_once_in(c->s, 4)
	         ? leader
	         : (int)sim_below(c->s, (uint64_t)c->g.n);
	do
		*b = (int)sim_below(c->s, (uint64_t)c->g.n);
	while (*b == *a);
}

static void
harm(struct chaos *c)
{
	int node = (int)sim_below(c->s, (uint64_t)c->g.n);

	switch (sim_below(c->s, 4)) {
	case 0:
		if (sim_is_up(c->s, node))
			sim_group_stop(&c->g, node);
		break;
	case 1:
		sim_group_bring_up(&c->g, node);
		break;
	case 2:
		sim_network(c->s, sim_once_in(c->s, 2) ? 0 : 20,
		    1 + (int64_t)sim_below(c->s, 300));
		break;
	default:
		sim_slow(c->s, node, (int64_t)sim_below(c->s, 300));
		break;
	}
}

/* Its disk fails; or it hangs: no wire is closed, and nothing comes. */
static void
harm_leader(struct chaos *c, int node)
{
	if (sim_once_in(c->s, 2)) {
		sim_trace(c->s, "disk of %d fails", node);
		sim_disk_fail(sim_disk(c->s, node), true);
		return;
	}
	for (int i = 0; i < c->g.n; i++) {
		if (i != node)
			sim_cut(c->s, node, i, true);
	}
}

/* K3 */
static void
fail_leader(struct chaos *c)
{
	int node;

	settle(c);
	node = sim_group_leader(&c->g);
	c->ailing = node;
	run_clients(c);
	sim_sleep(c->s, (int64_t)sim_below(c->s, 1000));
	harm_leader(c, node);
	sim_sleep(c->s, 8000);
	if (sim_group_leader(&c->g) == node || sim_group_leader(&c->g) < 0)
		sim_fail(c->s, "K3: node %d leads still", node);
	end_clients(c);
	c->ailing = -1;
	settle(c);
}

static void
round_of(struct chaos *c)
{
	int a, b;

	if (!c->is_wild)
		fail_leader(c);
	settle(c);
	run_clients(c);
	for (int i = 0; i < 3; i++) {
		draw_pair(c, &a, &b);
		sim_cut(c->s, a, b, true);
		sim_sleep(c->s, 500 + (int64_t)sim_below(c->s, 8000));
		for (int k = 0; c->is_wild && k < 3; k++) {
			harm(c);
			sim_sleep(c->s, (int64_t)sim_below(c->s, 2000));
		}
		sim_cut(c->s, a, b, false);
		/* A heartbeat that was lost is followed by another one after a
		 * second; until then the pair is as good as cut. */
		sim_sleep(c->s, 1200 + (int64_t)sim_below(c->s, 3000));
	}
	end_clients(c);
	settle(c);
	for (int i = 0; i < CLIENTS; i++) {
		do_read(&c->clients[i]);
		do_get_meta(&c->clients[i]);
		check_slave(&c->clients[i]);
	}
}

static bool
did_enough(const struct chaos *c)
{
	return c->changes >= 20 && c->reads >= 10;
}

static void
director(void *arg)
{
	struct chaos *c = arg;

	for (int i = 0; i < c->g.n; i++)
		sim_group_bring_up(&c->g, i);
	/* Where the nodes were down for most of the time, more follow. */
	for (int i = 0; i < 2 || (i < 6 && !did_enough(c)); i++)
		round_of(c);
	sim_group_stop_all(&c->g);
	c->is_over = true;
}

static void
schedule(uint64_t seed, int64_t *slowest, int64_t *follow)
{
	static const int sizes[] = { 3, 3, 4, 5 };
	struct chaos *c = mem_zalloc(sizeof(*c));

	MUST(c != NULL);
	c->s = sim_new(seed);
	c->is_wild = seed % 3 == 0;
	c->ailing = -1;
	if (!c->is_wild)
		sim_calm(c->s);
	sim_group_init(&c->g, c->s, sizes[seed / 3 % 4]);
	c->g.opened = opened;
	c->g.closing = closing;
	c->g.file_op = file_op;
	for (int i = 0; i < CLIENTS; i++)
		c->clients[i] = (struct client){ .c = c, .no = i };
	sim_spawn(c->s, SIM_OUTSIDE, director, c);
	if (!sim_run(c->s, 3600 * 1000) || !c->is_over)
		sim_fail(c->s, "it does not end");
	if (!did_enough(c))
		sim_fail(c->s, "only %u changes, %u reads", c->changes,
		    c->reads);
	if (getenv("CREEL_SIM_SEED") != NULL)
		printf("%u changes, %u reads, %u refused, slowest %jd ms, "
		       "history %016jx\n",
		    c->changes, c->reads, c->refused, (intmax_t)c->slowest,
		    (uintmax_t)sim_history(c->s));
	if (c->slowest > *slowest)
		*slowest = c->slowest;
	if (c->slowest_follow > *follow)
		*follow = c->slowest_follow;
	sim_free(&c->s);
	mem_free(&c);
}

static void
test_schedules(void **state)
{
	uint64_t first = sim_setting("CREEL_SIM_SEED", 1);
	uint64_t n = getenv("CREEL_SIM_SEED") != NULL
	                 ? sim_setting("CREEL_SIM_RUNS", 1)
	                 : sim_runs("CREEL_SIM_RUNS", 12, 2000, 60);
	int64_t slowest = 0, follow = 0;

	(void)state;
	for (uint64_t i = 0; i < n; i++)
		schedule(first + i, &slowest, &follow);
	printf(
	    "%ju schedules; the slowest calls %jd ms with a pair cut, %jd ms "
	    "with a leader that failed\n",
	    (uintmax_t)n, (intmax_t)slowest, (intmax_t)follow);
}

/* Two stand for election at the same time (V5 of election.c): 4.6 s once. */
static void
test_two_stand(void **state)
{
	int64_t slowest = 0, follow = 0;

	(void)state;
	schedule(37, &slowest, &follow);
}

/* --- a change that lies before the leader's door --- */

struct late {
	struct chaos *c;
	struct files *asked;
	char name[FDFS_REMOTE_MAX + 1];
	int node;
	bool is_over;
};

static void
ask_and_die(void *arg)
{
	struct late *l = arg;
	struct err e = ERR_INIT;

	MUST(sim_enter(l->c->s, l->node));
	MUST(files_set_meta(l->asked, str_of(l->name), 'O', STR_LIT("n\0022"),
		 &e) == ERR_CLOSED);
	sim_leave(l->c->s, l->node);
	l->is_over = true;
}

static void
set_meta_at(struct chaos *c, int node, const char *name, const char *meta)
{
	struct err e = ERR_INIT;

	MUST(sim_enter(c->s, node));
	if (files_set_meta(c->g.v[node].more, str_of(name), 'O', str_of(meta),
		&e) < 0)
		sim_fail(c->s, "%s: %s", meta, e.msg);
	sim_leave(c->s, node);
}

static void
expect_meta(struct chaos *c, int node, const char *name, const char *want)
{
	struct buf b = BUF_CAP(1000);
	struct err e = ERR_INIT;

	MUST(sim_enter(c->s, node));
	if (files_get_meta(c->g.v[node].more, str_of(name), &b, &e) < 0 ||
	    !str_eqz(buf_str(&b), want))
		sim_fail(c->s, "%s is wanted, '" STR_FMT "' is there (%s)",
		    want, STR_ARG(buf_str(&b)), e.msg);
	sim_leave(c->s, node);
	buf_fini(&b);
}

/* The leader gets a change @ms after it was sent, when who sent it is dead, and
 * another one was acknowledged meanwhile. */
static void
arrives_after(struct chaos *c, int64_t ms, const char *want)
{
	struct engine_file_info info;
	struct given none = { 0 };
	struct err e = ERR_INIT;
	struct late l = { .c = c };
	int leader;

	settle(c);
	leader = sim_group_leader(&c->g);
	l.node = (leader + 1) % c->g.n;
	l.asked = c->g.v[l.node].more;
	MUST(sim_enter(c->s, leader));
	MUST(files_upload(c->g.v[leader].more, -1, true, STR_LIT("log"), 0,
		 give, &none, &info, &e) == 0);
	sim_leave(c->s, leader);
	snprintf(l.name, sizeof(l.name), "%.*s", (int)sizeof(l.name) - 1,
	    info.id + 7);
	set_meta_at(c, l.node, l.name, "n\0021");
	sim_hold(c->s, leader, RPC_FILE_OP);
	sim_spawn(c->s, SIM_OUTSIDE, ask_and_die, &l);
	sim_sleep(c->s, 1000);
	sim_group_stop(&c->g, l.node);
	while (!l.is_over)
		sim_sleep(c->s, 10);
	set_meta_at(c, leader, l.name, "n\0023");
	sim_sleep(c->s, ms - 1000);
	if (sim_group_leader(&c->g) != leader)
		sim_fail(c->s, "it does not lead any more");
	sim_hold(c->s, leader, 0);
	sim_sleep(c->s, 5000);
	expect_meta(c, leader, l.name, want);
}

static void
late_director(void *arg)
{
	struct chaos *c = arg;

	for (int i = 0; i < c->g.n; i++)
		sim_group_bring_up(&c->g, i);
	arrives_after(c, FILES_OPEN_MS - 10000, "n\0022");
	arrives_after(c, FILES_OPEN_MS + 100, "n\0023");
	arrives_after(c, 10 * FILES_OPEN_MS, "n\0023");
	sim_group_stop_all(&c->g);
	c->is_over = true;
}

/* F6 */
static void
test_comes_late(void **state)
{
	struct chaos *c = mem_zalloc(sizeof(*c));

	(void)state;
	MUST(c != NULL);
	c->s = sim_new(1);
	sim_calm(c->s);
	sim_group_init(&c->g, c->s, 3);
	c->g.opened = opened;
	c->g.closing = closing;
	c->g.file_op = file_op;
	c->ailing = -1;
	sim_spawn(c->s, SIM_OUTSIDE, late_director, c);
	assert_true(sim_run(c->s, 3600 * 1000) && c->is_over);
	sim_free(&c->s);
	mem_free(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_comes_late),
		cmocka_unit_test(test_two_stand),
		cmocka_unit_test(test_schedules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
