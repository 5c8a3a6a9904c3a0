/* Maps and nodes: packed and back, cut short and spoilt, as JSON and table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cluster/map.h"

#include "lib/fault.h"
#include "lib/mem.h"

#include <jansson.h>

#include <stdio.h>

static void
set_addr(struct fdfs_addr *a, const char *ip, uint16_t port)
{
	snprintf(a->ip, sizeof(a->ip), "%s", ip);
	a->port = port;
}

static void
fill_node(struct cmap_node *n, unsigned i)
{
	memset(n, 0, sizeof(*n));
	n->node.b[0] = (uint8_t)(1 + i);
	n->cluster.b[15] = 9;
	n->group_id.b[3] = 4;
	n->server_id = i + 1;
	snprintf(n->group, sizeof(n->group), "group%u", 1 + i / 3);
	set_addr(&n->inner, "10.0.0.1", (uint16_t)(23000 + i));
	if (i % 2 == 0)
		set_addr(&n->outer, "2001:db8::1", 23000);
	n->http_port = 8888;
	snprintf(n->version, sizeof(n->version), "0.1.%u", i);
	n->state = i == 1 ? FDFS_STATE_SYNCING : FDFS_STATE_ACTIVE;
	snprintf(n->reason, sizeof(n->reason), "%s",
	    i == 1 ? "copies from 10.0.0.2" : "");
	n->progress = i == 1 ? 37 : 100;
	n->can_write = i != 1;
	n->is_leader = i % 3 == 0;
	n->lag_bytes = i * 5000000000;
	n->lag_files = i;
	n->epoch = 3;
	n->term = UINT64_MAX - i;
	n->started_s = 1700000000;
	n->joined_s = 1600000000;
	n->priority = 10;
	n->min_copies = 2;
	n->reserved = 1 << 20;
	n->n_paths = i % 3;
	n->paths =
	    n->n_paths == 0 ? NULL : mem_zalloc(n->n_paths * sizeof(*n->paths));
	for (size_t k = 0; k < n->n_paths; k++)
		n->paths[k] = (struct cmap_path){ 1000000000000, 5000000, 12,
			34, k == 1 };
	n->n_members = 3;
	for (size_t k = 0; k < 3; k++) {
		n->members[k].node.b[0] = (uint8_t)(1 + k);
		n->members[k].server_id = (uint32_t)k + 1;
		set_addr(&n->members[k].inner, "node-1.example", 1);
	}
	n->stat.upload.total = 77 + i;
	n->heard_s = i == 4 ? 0 : 1700000100;
	n->is_away = i == 5;
}

static void
fill_map(struct cmap *m)
{
	*m = (struct cmap){ .seq = 12, .n_nodes = 6 };
	m->nodes = mem_zalloc(6 * sizeof(*m->nodes));
	for (unsigned i = 0; i < 6; i++)
		fill_node(&m->nodes[i], i);
	m->n_gates = 1;
	m->gates = mem_zalloc(sizeof(*m->gates));
	m->gates[0].gate.b[2] = 1;
	m->gates[0].index.b[2] = 2;
	m->gates[0].index_epoch = 6;
	set_addr(&m->gates[0].addr, "10.1.1.1", 9000);
	snprintf(m->gates[0].version, sizeof(m->gates[0].version), "0.1.0");
	m->gates[0].heard_s = 1700000000;
	m->n_trackers = 2;
	m->trackers = mem_zalloc(2 * sizeof(*m->trackers));
	set_addr(&m->trackers[0].addr, "10.2.2.2", 22122);
	m->trackers[0].is_self = true;
	m->trackers[0].started_s = 1700000000;
	set_addr(&m->trackers[1].addr, "10.2.2.3", 22122);
}

static void
test_node(void **state)
{
	struct buf b = BUF_CAP(100000), again = BUF_CAP(100000);
	struct cmap_node n, got;
	struct err e = ERR_INIT;

	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		struct unpack u;

		fill_node(&n, i);
		buf_reset(&b);
		buf_reset(&again);
		assert_int_equal(cmap_node_pack(&n, &b), 0);
		assert_int_equal(buf_addz(&b, "more"), 0);
		u = unpack_of(buf_str(&b));
		assert_int_equal(cmap_node_unpack(&u, &got, &e), 0);
		assert_true(str_eqz(u.rest, "more"));
		assert_int_equal(cmap_node_pack(&got, &again), 0);
		assert_true(str_eq(buf_str(&again),
		    str_sub(buf_str(&b), 0, b.len - 4)));
		assert_int_equal(got.term, UINT64_MAX - i);
		assert_string_equal(got.reason, n.reason);
		assert_int_equal(got.stat.upload.total, 77 + i);
		assert_int_equal(got.n_members, 3);
		assert_string_equal(got.members[2].inner.ip, "node-1.example");
		/* A field that a newer version adds is skipped. */
		assert_int_equal(buf_addz(&again, "new field"), 0);
		again.p[0] = (char)(again.p[0] + 9); /* no carry here */
		u = unpack_of(buf_str(&again));
		cmap_node_fini(&got);
		if ((uint8_t)b.p[0] < 240) {
			assert_int_equal(cmap_node_unpack(&u, &got, &e), 0);
			assert_int_equal(u.rest.len, 0);
			cmap_node_fini(&got);
		}
		cmap_node_fini(&n);
	}
	buf_fini(&b);
	buf_fini(&again);
}

static void
test_map(void **state)
{
	struct buf b = BUF_CAP(100000), again = BUF_CAP(100000);
	struct err e = ERR_INIT;
	struct cmap m, got;

	(void)state;
	fill_map(&m);
	assert_int_equal(cmap_pack(&m, &b), 0);
	assert_int_equal(cmap_unpack(buf_str(&b), &got, &e), 0);
	assert_int_equal(got.n_nodes, 6);
	assert_int_equal(got.seq, 12);
	assert_true(got.trackers[0].is_self);
	assert_int_equal(got.gates[0].index_epoch, 6);
	assert_int_equal(cmap_pack(&got, &again), 0);
	assert_true(str_eq(buf_str(&b), buf_str(&again)));
	cmap_fini(&got);
	/* Cut anywhere. */
	for (size_t n = 0; n < b.len; n++)
		assert_int_equal(cmap_unpack(str_sub(buf_str(&b), 0, n), &got,
				     &e),
		    ERR_INVALID);
	/* Any byte another: an error, or a map that packs again. */
	for (size_t n = 0; n < b.len; n++) {
		for (int bit = 0; bit < 8; bit += 7) {
			b.p[n] = (char)(b.p[n] ^ (1 << bit));
			if (cmap_unpack(buf_str(&b), &got, &e) == 0) {
				buf_reset(&again);
				assert_int_equal(cmap_pack(&got, &again), 0);
				buf_reset(&again);
				assert_int_equal(cmap_json(&got, &again, &e),
				    0);
				assert_int_equal(cmap_table(&got, &again, &e),
				    0);
				cmap_fini(&got);
			}
			b.p[n] = (char)(b.p[n] ^ (1 << bit));
		}
	}
	/* Counts that promise more than there is take no memory. */
	buf_reset(&b);
	assert_int_equal(pack_u64(&b, 1), 0);
	assert_int_equal(pack_u32(&b, 10000), 0);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(pack_u32(&b, 0), 0);
	assert_int_equal(cmap_unpack(buf_str(&b), &got, &e), ERR_INVALID);
	cmap_fini(&m);
	buf_fini(&b);
	buf_fini(&again);
}

static void
test_no_memory(void **state)
{
	struct buf b = BUF_CAP(100000), again;
	struct cmap m, got;
	int rc = -1;

	(void)state;
	fill_map(&m);
	assert_int_equal(cmap_pack(&m, &b), 0);
	for (unsigned n = 1; rc != 0; n++) {
		fault_arm(FAULT_ALLOC, n, 12, false);
		rc = cmap_unpack(buf_str(&b), &got, NULL);
		fault_disarm();
		assert_true(rc == 0 || rc == ERR_NO_MEMORY);
	}
	cmap_fini(&got);
	again = BUF_CAP(1000); /* too small: nothing is left in it */
	assert_int_equal(cmap_pack(&m, &again), ERR_TOO_BIG);
	assert_int_equal(again.len, 0);
	cmap_fini(&m);
	buf_fini(&b);
	buf_fini(&again);
}

static void
test_json(void **state)
{
	struct buf b = BUF_CAP(100000);
	struct err e = ERR_INIT;
	json_t *j, *group, *node;
	struct cmap m;

	(void)state;
	fill_map(&m);
	assert_int_equal(cmap_json(&m, &b, &e), 0);
	j = json_loadb(b.p, b.len, 0, NULL);
	assert_non_null(j);
	assert_int_equal(json_integer_value(json_object_get(j, "seq")), 12);
	assert_int_equal(json_array_size(json_object_get(j, "groups")), 2);
	group = json_array_get(json_object_get(j, "groups"), 1);
	assert_string_equal(json_string_value(json_object_get(group, "group")),
	    "group2");
	assert_int_equal(json_array_size(json_object_get(group, "nodes")), 3);
	node = json_array_get(json_object_get(group, "nodes"), 2);
	assert_string_equal(json_string_value(json_object_get(node, "state")),
	    "OFFLINE");
	assert_string_equal(json_string_value(json_object_get(node, "address")),
	    "10.0.0.1:23005");
	node = json_array_get(json_object_get(group, "nodes"), 1);
	assert_string_equal(json_string_value(json_object_get(node, "state")),
	    "UNHEARD");
	assert_string_equal(json_string_value(
				json_object_get(node, "outer_address")),
	    "[2001:db8::1]:23000");
	json_decref(j);
	buf_fini(&b);
	/* An empty one. */
	cmap_fini(&m);
	assert_int_equal(cmap_json(&m, &b, &e), 0);
	j = json_loadb(b.p, b.len, 0, NULL);
	assert_int_equal(json_array_size(json_object_get(j, "groups")), 0);
	json_decref(j);
	buf_fini(&b);
}

static void
test_table(void **state)
{
	struct buf b = BUF_CAP(100000);
	struct err e = ERR_INIT;
	struct cmap m;

	(void)state;
	fill_map(&m);
	assert_int_equal(cmap_table(&m, &b, &e), 0);
	assert_int_equal(buf_addc(&b, '\0'), 0);
	assert_non_null(strstr(b.p, "GROUP group1 (00000004000000000"));
	assert_non_null(strstr(b.p, "GROUP group2"));
	assert_non_null(strstr(b.p, "SYNCING      37 no"));
	assert_non_null(strstr(b.p, "copies from 10.0.0.2"));
	assert_non_null(strstr(b.p, "4.6G")); /* lag */
	assert_non_null(strstr(b.p, "4.7M/931G"));
	assert_non_null(strstr(b.p, "1 of 2 store paths failed"));
	assert_non_null(strstr(b.p, "2023-11-14T22:13:20Z"));
	cmap_fini(&m);
	buf_fini(&b);
}

/* What comes from afar does not steer a terminal. */
static void
test_harmless(void **state)
{
	struct buf b = BUF_CAP(100000);
	struct cmap_node n, got;
	struct unpack u;

	(void)state;
	fill_node(&n, 0);
	snprintf(n.reason, sizeof(n.reason), "a\033[2J\nb\x7f\xc3\xa9");
	assert_int_equal(cmap_node_pack(&n, &b), 0);
	u = unpack_of(buf_str(&b));
	assert_int_equal(cmap_node_unpack(&u, &got, NULL), 0);
	assert_string_equal(got.reason, "a?[2J?b?\xc3\xa9");
	snprintf(n.reason, sizeof(n.reason), "a\xc3(");
	buf_reset(&b);
	assert_int_equal(cmap_node_pack(&n, &b), 0);
	u = unpack_of(buf_str(&b));
	assert_int_equal(cmap_node_unpack(&u, &got, NULL), 0);
	assert_string_equal(got.reason, "a?(");
	/* An address is none. */
	snprintf(n.inner.ip, sizeof(n.inner.ip), "10.0.0.1;rm");
	buf_reset(&b);
	assert_int_equal(cmap_node_pack(&n, &b), 0);
	u = unpack_of(buf_str(&b));
	assert_int_equal(cmap_node_unpack(&u, &got, NULL), ERR_INVALID);
	buf_fini(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_node),
		cmocka_unit_test(test_map),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_harmless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
