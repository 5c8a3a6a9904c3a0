/* Addresses and networks. */
#include "lib/ip.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct ip_addr
ip_from(const char *z)
{
	struct ip_addr ip;

	assert_true(ip_parse(str_of(z), &ip));
	return ip;
}

static void
test_ip(void **state)
{
	static const char *const bad[] = { "", "1.2.3", "1.2.3.4.5", "a.b.c.d",
		"::g", "[::1", "1.2.3.4:5:6", "unknown", "_hidden", "1.2.3.256",
		"1111:2222:3333:4444:5555:6666:7777:8888:9999" };
	struct ip_addr ip;
	char text[46];

	(void)state;
	ip = ip_from("1.2.3.4");
	ip_text(&ip, text);
	assert_string_equal(text, "1.2.3.4");
	ip = ip_from(" 1.2.3.4:567 ");
	ip_text(&ip, text);
	assert_string_equal(text, "1.2.3.4");
	ip = ip_from("::ffff:1.2.3.4");
	ip_text(&ip, text);
	assert_string_equal(text, "1.2.3.4");
	ip = ip_from("[2001:db8::1]:80");
	ip_text(&ip, text);
	assert_string_equal(text, "2001:db8::1");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(ip_parse(str_of(bad[i]), &ip));
}

static bool
has(const char *net, const char *ip)
{
	struct ip_addr a = ip_from(ip);
	struct ip_net n;

	assert_true(ip_net_parse(str_of(net), &n));
	return ip_net_has(&n, 1, &a);
}

static void
test_net(void **state)
{
	struct ip_net n;

	(void)state;
	assert_true(has("10.0.0.0/8", "10.255.0.1"));
	assert_false(has("10.0.0.0/8", "11.0.0.1"));
	assert_true(has("192.168.4.0/22", "192.168.7.255"));
	assert_false(has("192.168.4.0/22", "192.168.8.0"));
	assert_true(has("1.2.3.4", "1.2.3.4"));
	assert_false(has("1.2.3.4", "1.2.3.5"));
	assert_true(has("0.0.0.0/0", "9.9.9.9"));
	assert_false(has("0.0.0.0/0", "2001:db8::1"));
	assert_true(has("2001:db8::/33", "2001:db8:7fff::1"));
	assert_false(has("2001:db8::/33", "2001:db8:8000::1"));
	assert_false(ip_net_parse(STR_LIT("10.0.0.0/33"), &n));
	assert_false(ip_net_parse(STR_LIT("10.0.0.0/"), &n));
	assert_false(ip_net_parse(STR_LIT("::/129"), &n));
	assert_false(ip_net_parse(STR_LIT("proxy.local"), &n));
}

static void
test_private(void **state)
{
	static const char *const yes[] = { "10.1.2.3", "172.16.0.1",
		"172.31.255.255", "192.168.0.9", "127.0.0.1", "::1", "fd00::1",
		"fe80::1", "100.64.0.1", "169.254.1.1" };
	static const char *const no[] = { "11.0.0.1", "172.32.0.1",
		"192.169.0.1", "8.8.8.8", "2001:db8::1", "100.128.0.1", "::2" };
	struct ip_addr ip;

	(void)state;
	for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
		ip = ip_from(yes[i]);
		assert_true(ip_is_private(&ip));
	}
	for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++) {
		ip = ip_from(no[i]);
		assert_false(ip_is_private(&ip));
	}
}

static void
test_common(void **state)
{
	struct ip_addr a = ip_from("10.0.0.1"), b = ip_from("10.0.0.1");

	(void)state;
	assert_int_equal(ip_common_bits(&a, &b), 128);
	b = ip_from("10.0.0.0");
	assert_int_equal(ip_common_bits(&a, &b), 127);
	b = ip_from("138.0.0.1");
	assert_int_equal(ip_common_bits(&a, &b), 96);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ip),
		cmocka_unit_test(test_net),
		cmocka_unit_test(test_private),
		cmocka_unit_test(test_common),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
