/* File IDs against names that FastDFS 6.16.1 itself has given out. */
#include "fdfs/file_id.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct fdfs_file_id
parsed(const char *text)
{
	char again[FDFS_ID_MAX + 1];
	struct fdfs_file_id id;
	struct err e = ERR_INIT;

	if (fdfs_id_parse(str_of(text), &id, &e) != 0)
		fail_msg("%s: %s", text, e.msg);
	assert_int_equal(fdfs_id_format(&id, again), strlen(text));
	assert_string_equal(again, text);
	return id;
}

static void
test_normal(void **state)
{
	struct fdfs_file_id id =
	    parsed("group1/M00/05/0A/fwAAA2sBLvWAPl1EAAAFeEEZMs8887.txt");

	(void)state;
	assert_string_equal(id.group, "group1");
	assert_int_equal(id.path, 0);
	assert_int_equal(id.dir1, 5);
	assert_int_equal(id.dir2, 10);
	assert_int_equal(id.server, 0x0300007f); /* 127.0.0.3 */
	assert_int_equal(id.time, 1795239669);
	assert_true(id.size_field == 0x803e5d4400000578);
	assert_int_equal(fdfs_id_size(&id), 1400);
	assert_int_equal(id.crc32, 0x411932cf);
	assert_int_equal(fdfs_id_kind(&id), FDFS_NORMAL);
	assert_true(str_eqz(id.tail, &"8887.txt"[1]));

	id = parsed("group1/M00/05/0A/fwAAA2sBLv-ARc6oAAAAAAAAAAA4341743");
	assert_int_equal(id.time, 1795239679);
	assert_int_equal(fdfs_id_size(&id), 0);
	assert_int_equal(id.crc32, 0);
	assert_int_equal(fdfs_id_kind(&id), FDFS_NORMAL);
}

static void
test_appender(void **state)
{
	struct fdfs_file_id id =
	    parsed("group1/M00/05/0A/fwAAA2sBLvyEA4LhAAAAAEeO0M8086.log");

	(void)state;
	assert_true(id.size_field == 0x840382e100000000);
	assert_int_equal(fdfs_id_kind(&id), FDFS_APPENDER);
	assert_int_equal(fdfs_id_size(&id), 0);
	id = parsed("group1/M00/05/0A/fwAAA2sBLv2AJ8yVAAAAB7eDkes086.log");
	assert_int_equal(fdfs_id_kind(&id), FDFS_NORMAL);
	assert_int_equal(fdfs_id_size(&id), 7);
	assert_int_equal(id.crc32, 0xb78391eb);
}

static void
test_slave(void **state)
{
	struct fdfs_file_id id = parsed(
	    "group1/M00/05/0A/fwAAA2sBLvWAPl1EAAAFeEEZMs8887_150x150.jpg");

	(void)state;
	assert_int_equal(fdfs_id_kind(&id), FDFS_SLAVE);
	assert_true(str_eqz(id.tail, "887_150x150.jpg"));
}

static void
test_trunk(void **state)
{
	struct fdfs_file_id id = parsed("group1/M00/00/00/"
					"oYYBAGsBMkyIH8omAAAFeEEZMs8"
					"AAAAAQAAAAAAAAYA414.txt");

	(void)state;
	assert_int_equal(id.server, 100001);
	assert_int_equal(fdfs_id_kind(&id), FDFS_TRUNK);
	assert_int_equal(fdfs_id_size(&id), 1400);
	assert_int_equal(id.trunk_file, 1);
	assert_int_equal(id.trunk_off, 0);
	assert_int_equal(id.trunk_size, 1536);
	id = parsed("group1/M00/00/00/oYYBAGsBMlWIDI0QAAAAAAAAAAAAAAAAQAAAQAAAA"
		    "EA9616658");
	assert_int_equal(id.trunk_off, 256);
	assert_int_equal(id.trunk_size, 256);
	assert_int_equal(fdfs_id_kind(&id), FDFS_TRUNK);
	id = parsed("group1/M00/00/00/oYYBAGsBMkyIH8omAAAFeEEZMs8"
		    "AAAAAQAAAAAAAAYA414_150x150.jpg");
	assert_int_equal(fdfs_id_kind(&id), FDFS_SLAVE);
}

static void
test_size_field(void **state)
{
	struct fdfs_file_id id = { 0 };

	(void)state;
	assert_true(fdfs_size_field(1400, 0x3e5d44) == 0x803e5d4400000578);
	/* Only 23 random bits. */
	assert_true(fdfs_size_field(0, UINT32_MAX) == 0x807fffff00000000);
	assert_true(fdfs_size_field(UINT32_MAX, 0) == 0x80000000ffffffff);
	assert_true(fdfs_size_field((uint64_t)1 << 32, 5) == (uint64_t)1 << 32);
	id.size_field = fdfs_size_field(UINT32_MAX, 77);
	assert_true(fdfs_id_size(&id) == UINT32_MAX);
	id.size_field = fdfs_size_field((uint64_t)5 << 40, 77);
	assert_true(fdfs_id_size(&id) == (uint64_t)5 << 40);
}

static void
test_tail(void **state)
{
	char t[FDFS_TAIL];

	(void)state;
	fdfs_tail(STR_LIT(""), 1234567, t);
	assert_memory_equal(t, "7654321", 7);
	fdfs_tail(STR_LIT("txt"), 788, t);
	assert_memory_equal(t, "887.txt", 7);
	fdfs_tail(STR_LIT("tar.gz"), 1, t);
	assert_memory_equal(t, ".tar.gz", 7);
	assert_true(fdfs_ext_is_valid(STR_LIT("tar.gz")));
	assert_false(fdfs_ext_is_valid(STR_LIT("toolong")));
	assert_false(fdfs_ext_is_valid(STR_LIT("a/b")));
	assert_false(fdfs_ext_is_valid(str_mem("\0", 1)));
}

static void
test_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"group1",
		"/M00/05/0A/fwAAA2sBLvWAPl1EAAAFeEEZMs8887.txt",
		"gr-p1/M00/05/0A/fwAAA2sBLvWAPl1EAAAFeEEZMs8887.txt",
		"group1group1group/M00/05/0A/fwAAA2sBLvWAPl1EAAAFeEEZMs8887.txt",
		"group1/m00/05/0A/fwAAA2sBLvWAPl1EAAAFeEEZMs8887.txt",
		"group1/M0g/05/0A/fwAAA2sBLvWAPl1EAAAFeEEZMs8887.txt",
		"group1/M00/05/0a/fwAAA2sBLvWAPl1EAAAFeEEZMs8887.txt",
		"group1/M00/05/0A/fwAAA2sBLvWAPl1EAAAFeEEZMs8887.tx",
		"group1/M00/05/0A/fwAAA2sBLvWAPl1EAAAFeEEZMs9887.txt",
		"group1/M00/05/0A/fwAAA2sBLvWAPl1EAAAFe+EZMs8887.txt",
		"group1/M00/05/0A/fwAAA2sBLvWAPl1EAAAFeEEZMs8887/txt",
		"group1/M00/05/0A/../A2sBLvWAPl1EAAAFeEEZMs8887.txtt",
		"group1/M00/00/00/oYYBAGsBMkyIH8omAAAFeEEZMs8414.txt",
	};
	char longer[200];
	struct fdfs_file_id id;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (fdfs_id_parse(str_of(bad[i]), &id, &e) != ERR_INVALID)
			fail_msg("taken: %s", bad[i]);
	}
	/* 127 characters behind the group are the most. */
	snprintf(longer, sizeof(longer), "%s%083d",
	    "group1/M00/05/0A/fwAAA2sBLvWAPl1EAAAFeEEZMs8887.txt", 0);
	assert_int_equal(strlen(longer), 7 + 127);
	parsed(longer);
	strcat(longer, "0");
	assert_int_equal(fdfs_id_parse(str_of(longer), &id, &e), ERR_INVALID);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_normal),
		cmocka_unit_test(test_appender),
		cmocka_unit_test(test_slave),
		cmocka_unit_test(test_trunk),
		cmocka_unit_test(test_size_field),
		cmocka_unit_test(test_tail),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
