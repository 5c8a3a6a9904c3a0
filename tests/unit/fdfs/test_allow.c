/* Who may use FastDFS's commands. */
#include "fdfs/allow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static bool
has(const struct fdfs_allow *a, const char *ip)
{
	struct fdfs_addr peer = { .port = 1 };

	snprintf(peer.ip, sizeof(peer.ip), "%s", ip);
	return fdfs_allow_has(a, &peer);
}

static void
test_lists(void **state)
{
	static const char *const some[] = { "10.0.0.0/8", " ::1 ", "1.2.3.4" };
	static const char *const all[] = { "10.0.0.0/8", "*" };
	static const char *const bad[] = { "10.0.0.0/8", "host.example" };
	struct err e = ERR_INIT;
	struct fdfs_allow a;

	(void)state;
	assert_int_equal(fdfs_allow_init(&a, NULL, 0, &e), 0);
	assert_false(has(&a, "127.0.0.1"));
	fdfs_allow_fini(&a);
	assert_int_equal(fdfs_allow_init(&a, some, 3, &e), 0);
	assert_true(has(&a, "10.9.8.7"));
	assert_true(has(&a, "::1"));
	assert_true(has(&a, "1.2.3.4"));
	assert_false(has(&a, "1.2.3.5"));
	assert_false(has(&a, ""));
	fdfs_allow_fini(&a);
	assert_int_equal(fdfs_allow_init(&a, all, 2, &e), 0);
	assert_true(has(&a, "9.9.9.9"));
	fdfs_allow_fini(&a);
	assert_int_equal(fdfs_allow_init(&a, bad, 2, &e), ERR_CONFIG);
	assert_non_null(strstr(e.msg, "host.example"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_lists) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
