/* tests/unit/blob/cluster_driver.h - a gateway's blobs on fake nodes, as the tests
 * of blob/cluster.h share them. */
#ifndef TEST_CLUSTER_DRIVER_H
#define TEST_CLUSTER_DRIVER_H

#include "gateway/blob/cluster_int.h"
#include "tests/unit/blob/fake_cluster.h"

static const char *const three[]
    __attribute__((unused)) = { "group1", "group1", "group1" };
static const char *const two_groups[]
    __attribute__((unused)) = { "group1", "group1", "group2", "group2" };

static struct fake fake;
static struct blob *blob;
static struct id128 index_id;
static _Atomic int errors_said;

static inline void
on_event(void *arg, int level, const char *text)
{
	(void)arg;
	(void)text;
	errors_said += level == 0;
}

static inline void
begin(const char *const *groups, unsigned n)
{
	struct err e = ERR_INIT;

	errors_said = 0;
	fake_open(&fake, groups, n);
	blob = fake_gateway(&fake, on_event, NULL);
	index_id = id128_new();
	assert_int_equal(blob_cluster_take(blob, &index_id, 1, &e), 0);
}

static inline void
end(void)
{
	fake.stop = true;
	blob_close(&blob);
	fake_close(&fake);
}

static inline struct blob_owner
owner_of(uint8_t class)
{
	return (struct blob_owner){ .class = class,
		.index_id = index_id,
		.write_id = id128_new(),
		.note = STR_LIT("a note") };
}

static inline int
put(const char *group, struct str body, struct blob_info *ret)
{
	struct blob_owner o = owner_of(BLOB_CLASS_S3);
	struct err e = ERR_INIT;

	return blob_put_whole(blob, str_of(group), &o, body, ret, &e);
}

static inline int
get(const struct blob_info *i, char *dst, size_t len)
{
	struct err e = ERR_INIT;
	size_t n = 0;
	int rc = blob_read_once(blob, str_of(i->id), 0, dst, len, &n, &e);

	assert_true(rc < 0 || n == i->size || n == len);
	return rc;
}

static inline int64_t
now_ms(void)
{
	return clock_mono_ns() / 1000000;
}

/* The map is at least as new as now. */
static inline void
settle(void)
{
	unsigned maps = fake.maps;

	for (int i = 0; i < 500 && fake.maps < maps + 2; i++)
		clock_sleep_ms(10);
	assert_true(fake.maps >= maps + 2);
	clock_sleep_ms(20);
}

#endif
