/* tests/unit/replication/test_sim_group.c - groups under all that can happen.
 *
 * Each schedule is drawn from its seed: clients write, read, delete and change
 * through random nodes, while nodes are killed, lose their disks or get older
 * copies of them back, messages are late or lost, wires are cut, clocks jump,
 * blocks rot, disks fill up. Then the faults end. Checked:
 * C1  What was acknowledged is there, to the byte, as long as fewer than
 *     min_copies disks were lost between two times of peace.
 * C2  At the moment of an acknowledgement min_copies disks hold it.
 * C3  What was deleted is nowhere in the end.
 * C4  Reads give the bytes that were written, or an error.
 * C5  Changes: nobody's acknowledged version is overwritten by one that was not
 *     based on it; what is read is no older than what was acknowledged or read
 *     before; one version is one content.
 * C6  When the faults have ended, all nodes are ACTIVE and hold the same, by
 *     themselves.
 * CREEL_SIM_SEED=N runs one schedule (CREEL_SIM_TRACE=1 tells it), CREEL_SIM_RUNS=N
 * so many; CREEL_FULL=1 many thousand, with sanitizers some hundred. */
#include "tests/unit/replication/sim_group.h"

#include "lib/clock.h"
#include "lib/hash.h"
#include "lib/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum {
	FILES = 600,
	NAMES = 3,
	CLIENTS = 4,
	CHANGES = 400,
	ROUNDS = 2,
	BIG = 2200000
};

struct file {
	char id[ENGINE_FILE_ID_MAX];
	uint64_t seed;
	size_t len;
	bool delete_tried, is_deleted;
};

struct change {                 /* of a name */
	uint64_t version, base; /* 0: not known */
	uint32_t text;
	bool is_acked, is_seen, is_new;
};

struct name {
	char id[ENGINE_FILE_ID_MAX];
	struct change v[CHANGES];
	size_t n;
	uint64_t floor; /* no read may be older */
};

struct chaos {
	struct sim *s;
	struct sim_group g;
	struct file files[FILES];
	size_t n_files;
	struct name names[NAMES];
	uint32_t next_text;
	bool clients_stop;
	int clients_left;
	unsigned copies;
	unsigned losses; /* disks lost so far: C2 is not checked across one */
	unsigned lost_now;
	struct sim_disk *backup[SIM_NODES];
	unsigned puts, acks, reads, changes, busy;
	bool is_over;
};

/* --- clients --- */

static void
content(uint64_t seed, char *p, size_t len)
{
	uint64_t x = seed | 1;
	size_t i;

	for (i = 0; i < len; i += 8) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		memcpy(p + i, &x, len - i < 8 ? len - i : 8);
	}
}

static struct rep *
any_node(struct chaos *c, int *ret)
{
	*ret = (int)sim_below(c->s, (uint64_t)c->g.n);
	return sim_group_enter(&c->g, *ret);
}

static unsigned
copies_of(struct chaos *c, const char *id)
{
	uint64_t version;
	struct str b;
	unsigned n = 0;
	int i;

	for (i = 0; i < c->g.n; i++)
		n += sim_disk_find(sim_disk(c->s, i), str_of(id), &version,
			 &b) != ENGINE_UNKNOWN;
	return n;
}

static size_t
draw_len(struct chaos *c)
{
	if (sim_once_in(c->s, 200))
		return 1000000 + sim_below(c->s, BIG - 1000000);
	return sim_below(c->s, 2000);
}

static int
upload(struct chaos *c, struct rep *r, const struct engine_owner *o,
    struct str body, struct engine_file_info *ret, struct err *e)
{
	struct rep_upload *u;
	size_t n;
	int rc;

	if (sim_once_in(c->s, 2))
		return rep_put(r, o, -1, body, "bin", 0, ret, e);
	rc = rep_upload_begin(r, o, -1,
	    sim_once_in(c->s, 2) ? body.len : UINT64_MAX, &u, e);
	if (rc < 0)
		return rc;
	while (rc == 0 && body.len > 0) {
		n = 1 + sim_below(c->s, 400000);
		n = n < body.len ? n : body.len;
		rc = rep_upload_write(u, body.p, n, e);
		body = str_skip(body, n);
	}
	if (rc == 0 && !sim_once_in(c->s, 20))
		return rep_upload_commit(&u, "bin", 0, ret, e);
	rep_upload_abort(&u);
	return rc < 0 ? rc : ERR_CLOSED;
}

static void
do_put(struct chaos *c)
{
	struct engine_owner o = { .class = ENGINE_CLASS_S3 };
	struct engine_file_info info;
	uint64_t seed = sim_random(c->s);
	unsigned losses = c->losses, n;
	struct err e = ERR_INIT;
	size_t len = draw_len(c);
	int node, rc;
	struct rep *r = any_node(c, &node);
	char *p;

	if (r == NULL)
		return;
	if (c->n_files + CLIENTS > FILES) { /* each may be writing one */
		sim_leave(c->s, node);
		return;
	}
	o.write_id.b[0] = 1;
	memcpy(o.write_id.b + 1, &seed, 8);
	p = mem_alloc(len + 1);
	content(seed, p, len);
	c->puts++;
	rc = upload(c, r, &o, str_mem(p, len), &info, &e);
	if (rc == ERR_BUSY && sim_once_in(c->s, 2)) /* tries again */
		rc = rep_put(r, &o, -1, str_mem(p, len), "bin", 0, &info, &e);
	sim_leave(c->s, node);
	mem_free(&p);
	c->busy += rc == ERR_BUSY;
	sim_trace(c->s, "put %zu at %d: %s %s", len, node,
	    rc == 0 ? info.id : err_name(rc), rc == 0 ? "" : e.msg);
	if (rc != 0)
		return;
	c->acks++;
	n = copies_of(c, info.id);
	if (n < c->copies && losses == c->losses)
		sim_fail(c->s, "C2: %s was acknowledged with %u copies",
		    info.id, n);
	MUST(c->n_files < FILES);
	c->files[c->n_files] = (struct file){ .seed = seed, .len = len };
	memcpy(c->files[c->n_files++].id, info.id, sizeof(info.id));
}

/* As rep_file_read(); checked against what was written. */
static int
read_file(struct chaos *c, struct rep *r, const struct file *f, struct err *e)
{
	char *want = mem_alloc(f->len + 1), *got = mem_alloc(f->len + 2);
	struct rep_file *rf;
	size_t n = 0;
	int rc = rep_file_open(r, str_of(f->id), &rf, e);

	if (rc == 0) {
		rc = rep_file_read(rf, 0, got, f->len + 1, &n, e);
		rep_file_close(&rf);
		content(f->seed, want, f->len);
		if (rc == 0 && (n != f->len || memcmp(want, got, n) != 0))
			sim_fail(c->s, "C4: other bytes in %s", f->id);
	}
	mem_free(&want);
	mem_free(&got);
	return rc;
}

static void
do_read(struct chaos *c)
{
	struct err e = ERR_INIT;
	struct file *f;
	int node, rc;
	struct rep *r;

	if (c->n_files == 0)
		return;
	f = &c->files[sim_below(c->s, c->n_files)];
	r = any_node(c, &node);
	if (r == NULL)
		return;
	rc = read_file(c, r, f, &e);
	sim_leave(c->s, node);
	sim_trace(c->s, "read %s at %d: %s %s", f->id, node, err_name(rc),
	    rc == 0 ? "" : e.msg);
	c->reads += rc == 0;
	if (rc == ERR_NOT_FOUND && !f->delete_tried)
		sim_fail(c->s, "C1: node %d says that %s is not there", node,
		    f->id);
}

static void
do_delete(struct chaos *c)
{
	struct err e = ERR_INIT;
	struct file *f;
	struct str id;
	struct rep *r;
	int node, rc;

	if (c->n_files == 0)
		return;
	f = &c->files[sim_below(c->s, c->n_files)];
	r = any_node(c, &node);
	if (r == NULL)
		return;
	f->delete_tried = true;
	id = str_of(f->id);
	rc = rep_delete_many(r, &id, 1, &e);
	sim_leave(c->s, node);
	sim_trace(c->s, "delete %s at %d: %s", f->id, node, err_name(rc));
	f->is_deleted = f->is_deleted || rc == 0;
}

/* --- changes --- */

static struct change *
by_text(struct name *n, uint32_t text)
{
	size_t i;

	for (i = 0; i < n->n; i++) {
		if (n->v[i].text == text)
			return &n->v[i];
	}
	return NULL;
}

/* @version has been read, or was answered, as @text. */
static void
saw_version(struct chaos *c, struct name *n, uint64_t version, uint32_t text)
{
	struct change *v = by_text(n, text);
	size_t i;

	if (v == NULL)
		sim_fail(c->s, "C4: nobody wrote %u into %s", text, n->id);
	if (v->version != 0 && v->version != version)
		sim_fail(c->s, "C5: %u is version %#jx and %#jx", text,
		    (uintmax_t)v->version, (uintmax_t)version);
	for (i = 0; i < n->n; i++) {
		if (n->v[i].version == version && n->v[i].text != text)
			sim_fail(c->s, "C5: version %#jx is %u and %u",
			    (uintmax_t)version, n->v[i].text, text);
	}
	v->version = version;
	v->is_seen = true;
}

/* The newest version: 0 and ERR_NOT_FOUND are answers. */
static int
read_newest(struct chaos *c, struct rep *r, struct name *n, uint64_t *ret,
    struct err *e)
{
	struct engine_file_info info;
	struct buf b = BUF_CAP(1000);
	uint64_t floor = n->floor;
	uint32_t text;
	int rc = rep_read_newest(r, str_of(n->id), &info, &b, e);

	if (rc == 0) {
		if (b.len != sizeof(text))
			sim_fail(c->s, "C4: %zu bytes in a name", b.len);
		memcpy(&text, b.p, sizeof(text));
		if (info.file_version < floor)
			sim_fail(c->s, "C5: %s is %#jx, but was %#jx before",
			    n->id, (uintmax_t)info.file_version,
			    (uintmax_t)floor);
		saw_version(c, n, info.file_version, text);
		if (info.file_version > n->floor)
			n->floor = info.file_version;
		*ret = info.file_version;
	}
	buf_fini(&b);
	return rc;
}

static void
do_change(struct chaos *c)
{
	struct name *n = &c->names[sim_below(c->s, NAMES)];
	struct engine_file_info info;
	struct err e = ERR_INIT;
	uint32_t text = ++c->next_text;
	int node = sim_group_leader(&c->g), rc, crc;
	struct rep *r = node < 0 ? NULL : sim_group_enter(&c->g, node);
	struct rep_change ch = { .id = str_of(n->id),
		.class = ENGINE_CLASS_LIST,
		.body = str_mem(&text, sizeof(text)) };
	struct change *v;

	if (r == NULL)
		return;
	rc = read_newest(c, r, n, &ch.base, &e);
	ch.is_new = rc == ERR_NOT_FOUND;
	ch.is_delete = rc == 0 && sim_once_in(c->s, 8);
	if (n->n == CHANGES || (rc != 0 && rc != ERR_NOT_FOUND) ||
	    (ch.is_new && n->floor == UINT64_MAX)) {
		sim_leave(c->s, node);
		return;
	}
	v = &n->v[n->n++];
	*v = (struct change){ .base = ch.base,
		.text = text,
		.is_new = ch.is_new };
	crc = rep_change(r, &ch, &info, &e);
	sim_leave(c->s, node);
	sim_trace(c->s, "change %s on %#jx at %d: %s %s", n->id,
	    (uintmax_t)ch.base, node, err_name(crc), crc == 0 ? "" : e.msg);
	if (crc != 0)
		return;
	c->changes++;
	v->is_acked = true;
	saw_version(c, n, info.file_version, text);
	if (info.file_version > n->floor)
		n->floor = info.file_version;
}

/* C5, over all that happened to a name. */
static void
check_name(struct chaos *c, const struct name *n)
{
	const struct change *a, *b;
	size_t i, k;

	for (i = 0; i < n->n; i++) {
		a = &n->v[i];
		if (!a->is_acked || a->is_new)
			continue;
		for (k = 0; k < n->n; k++) {
			b = &n->v[k];
			if (b->is_acked && b->version > a->base &&
			    b->version < a->version)
				sim_fail(c->s,
				    "C5: %#jx, based on %#jx, has overwritten "
				    "%#jx",
				    (uintmax_t)a->version, (uintmax_t)a->base,
				    (uintmax_t)b->version);
		}
	}
}

static void
client(void *arg)
{
	struct chaos *c = arg;
	uint64_t x;

	while (!c->clients_stop) {
		x = sim_below(c->s, 100);
		if (x < 40)
			do_put(c);
		else if (x < 70)
			do_read(c);
		else if (x < 78)
			do_delete(c);
		else
			do_change(c);
		sim_sleep(c->s, (int64_t)sim_below(c->s, 120));
	}
	c->clients_left--;
}

/* --- the director --- */

/* A disk is lost, or part of it, at most min_copies - 1 times in a round. */
static bool
may_lose(struct chaos *c)
{
	if (c->lost_now + 1 >= c->copies)
		return false;
	c->lost_now++;
	c->losses++;
	return true;
}

static bool
is_well(struct chaos *c)
{
	return sim_group_is_well(&c->g);
}

/* Waits up to @ms for @fn. */
static bool
wait_for(struct chaos *c, bool (*fn)(struct chaos *c), int64_t ms)
{
	int64_t until = sim_now(c->s) + ms;

	while (!fn(c)) {
		if (sim_now(c->s) >= until)
			return false;
		sim_sleep(c->s, 200);
	}
	return true;
}

static void
reunite(struct chaos *c)
{
	if (!sim_group_reunite(&c->g))
		sim_fail(c->s, "C6: not ACTIVE again");
}

static void
lose(struct chaos *c, int node)
{
	bool was_put_back;

	if (!may_lose(c))
		return;
	if (sim_is_up(c->s, node))
		sim_group_stop(&c->g, node);
	was_put_back = c->backup[node] != NULL && sim_once_in(c->s, 2);
	if (was_put_back)
		sim_disk_put_back(c->s, node, c->backup[node]);
	else
		sim_disk_wipe(c->s, node);
	sim_disk_free(&c->backup[node]);
	sim_sleep(c->s, (int64_t)sim_below(c->s, 1500));
	sim_group_bring_up(&c->g, node);
	/* Nobody can tell a disk that was put back from one that was not as long
	 * as those who know better are away too. */
	if (was_put_back)
		reunite(c);
}

static void
fault(struct chaos *c)
{
	int a = (int)sim_below(c->s, (uint64_t)c->g.n);
	int b = (int)sim_below(c->s, (uint64_t)c->g.n);

	switch (sim_below(c->s, 12)) {
	case 0:
	case 1:
	case 2:
		if (sim_is_up(c->s, a))
			sim_group_stop(&c->g, a);
		else
			sim_group_bring_up(&c->g, a);
		break;
	case 3:
	case 4:
		if (a != b)
			sim_cut(c->s, a, b, sim_once_in(c->s, 2));
		break;
	case 5:
		sim_network(c->s,
		    sim_once_in(c->s, 2) ? 0
					 : 5 + (unsigned)sim_below(c->s, 40),
		    1 + (int64_t)sim_below(c->s, 40));
		break;
	case 6:
		sim_slow(c->s, a,
		    sim_once_in(c->s, 2) ? 0 : (int64_t)sim_below(c->s, 400));
		break;
	case 7:
		sim_clock_jump(c->s, a, (int64_t)sim_below(c->s, 7200) - 3600);
		break;
	case 8:
		sim_disk_full(sim_disk(c->s, a), sim_once_in(c->s, 2));
		break;
	case 9:
		if (may_lose(c) && !sim_disk_damage(c->s, a))
			c->lost_now--;
		break;
	case 10:
		lose(c, a);
		break;
	default:
		if (c->backup[a] == NULL)
			c->backup[a] = sim_disk_copy(c->s, a);
		break;
	}
}

static bool
is_same(struct chaos *c)
{
	char why[400];
	int i;

	for (i = 1; i < c->g.n; i++) {
		if (!sim_disk_same(sim_disk(c->s, 0), sim_disk(c->s, i), why,
			sizeof(why)))
			return false;
	}
	return true;
}

static void
check_files(struct chaos *c)
{
	struct err e = ERR_INIT;
	struct rep *r;
	size_t i;
	int node, rc;

	for (i = 0; i < c->n_files; i++) {
		for (node = 0; node < c->g.n; node++) {
			r = sim_group_enter(&c->g, node);
			MUST(r != NULL);
			rc = read_file(c, r, &c->files[i], &e);
			sim_leave(c->s, node);
			if (rc == 0 && c->files[i].is_deleted)
				sim_fail(c->s, "C3: %s is back at node %d",
				    c->files[i].id, node);
			if (rc != 0 &&
			    !(rc == ERR_NOT_FOUND && c->files[i].delete_tried))
				sim_fail(c->s, "C1: %s at node %d: %s %s",
				    c->files[i].id, node, err_name(rc), e.msg);
		}
	}
}

/* Whoever leads answers: a message that takes seconds may cost a leader its
 * lease in peace, too. */
static void
check_names(struct chaos *c)
{
	struct err e = ERR_INIT;
	uint64_t version;
	struct rep *r;
	size_t i;
	int node, rc, tries;

	for (i = 0; i < NAMES; i++) {
		check_name(c, &c->names[i]);
		rc = ERR_RETRY;
		for (tries = 0; rc != 0 && rc != ERR_NOT_FOUND; tries++) {
			if (tries == 100)
				sim_fail(c->s, "C6: %s: %s %s", c->names[i].id,
				    err_name(rc), e.msg);
			node = sim_group_leader(&c->g);
			r = node < 0 ? NULL : sim_group_enter(&c->g, node);
			if (r != NULL) {
				rc = read_newest(c, r, &c->names[i], &version,
				    &e);
				sim_leave(c->s, node);
			}
			sim_sleep(c->s, 100);
		}
	}
}

/* The faults end: it heals by itself. */
static void
peace(struct chaos *c)
{
	char why[400] = "";
	int i;

	for (i = 0; i < c->g.n; i++)
		sim_disk_free(&c->backup[i]);
	sim_trace(c->s, "peace");
	reunite(c);
	wait_for(c, is_same, 30000);
	check_files(c);
	check_names(c);
	if (!wait_for(c, is_same, 60000)) {
		for (i = 1; i < c->g.n; i++)
			sim_disk_same(sim_disk(c->s, 0), sim_disk(c->s, i), why,
			    sizeof(why));
		sim_fail(c->s, "C6: replicas differ: %s", why);
	}
	check_files(c);
	c->lost_now = 0;
}

static void
director(void *arg)
{
	struct chaos *c = arg;
	int i, round, steps;

	for (i = 0; i < c->g.n; i++)
		sim_group_bring_up(&c->g, i);
	if (!wait_for(c, is_well, 60000))
		sim_fail(c->s, "C6: a new group does not become ACTIVE");
	for (round = 0; round < ROUNDS; round++) {
		c->clients_stop = false;
		c->clients_left = CLIENTS;
		for (i = 0; i < CLIENTS; i++)
			sim_spawn(c->s, SIM_OUTSIDE, client, c);
		steps = 5 + (int)sim_below(c->s, 20);
		for (i = 0; i < steps; i++) {
			sim_sleep(c->s, (int64_t)sim_below(c->s, 1500));
			fault(c);
		}
		c->clients_stop = true;
		while (c->clients_left > 0)
			sim_sleep(c->s, 50);
		peace(c);
	}
	sim_group_stop_all(&c->g);
	c->is_over = true;
}

static const int group_sizes[] = { 3, 3, 3, 2, 3, 5, 3, 4 };

/* Returns the history's number. */
static uint64_t
schedule(uint64_t seed)
{
	struct chaos *c = mem_zalloc(sizeof(*c));
	uint64_t history;
	size_t i;

	MUST(c != NULL);
	c->s = sim_new(seed);
	c->copies = 2;
	if (seed % 4 == 1)
		sim_set_small(c->s, seed % 8 == 1 ? 1000 : 3000000);
	sim_group_init(&c->g, c->s, group_sizes[seed % 8]);
	c->g.conf.compare_interval_s = 20;
	for (i = 0; i < NAMES; i++)
		snprintf(c->names[i].id, sizeof(c->names[i].id),
		    "group1/M00/00/00/wKgAAWVT8wCEWVsDAAAAAAAAAAA123456%zu", i);
	sim_spawn(c->s, SIM_OUTSIDE, director, c);
	if (!sim_run(c->s, 3600 * 1000) || !c->is_over)
		sim_fail(c->s, "C6: it does not end");
	history = sim_history(c->s);
	if (getenv("CREEL_SIM_SEED") != NULL &&
	    getenv("CREEL_SIM_RUNS") == NULL)
		printf("%u puts, %u acknowledged, %u refused, %u reads, %u "
		       "changes, %jd s, history %016jx\n",
		    c->puts, c->acks, c->busy, c->reads, c->changes,
		    (intmax_t)sim_now(c->s) / 1000, (uintmax_t)history);
	sim_free(&c->s);
	mem_free(&c);
	return history;
}

static void
test_schedules(void **state)
{
	uint64_t first = sim_setting("CREEL_SIM_SEED", 1);
	uint64_t n = getenv("CREEL_SIM_SEED") != NULL
	                 ? sim_setting("CREEL_SIM_RUNS", 1)
	                 : sim_runs("CREEL_SIM_RUNS", 60, 12000, 400);
	int64_t start_ns = clock_mono_ns();

	(void)state;
	for (uint64_t i = 0; i < n; i++)
		schedule(first + i);
	printf("%ju schedules in %.1f s\n", (uintmax_t)n,
	    (double)(clock_mono_ns() - start_ns) / 1e9);
}

static void
test_same_again(void **state)
{
	(void)state;
	assert_true(schedule(99991) == schedule(99991));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_again),
		cmocka_unit_test(test_schedules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
