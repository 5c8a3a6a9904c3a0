/* Addresses of peers, proxies and listeners. */
#include "http/internal.h"
#include "tests/unit/http/client.h"

static void
test_listen_forms(void **state)
{
	static const char *const bad[] = { "9000", "127.0.0.1", "h:", "h:x",
		"127.0.0.1:65536", "127.0.0.1:-1", "::1:9000",
		"no such host.invalid:1" };
	struct buf b = BUF_CAP(4096);
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(http_address_add(&b, "127.0.0.1:9000", false, &e), 0);
	assert_true(str_eqz(buf_str(&b), "127.0.0.1:9000"));
	assert_int_equal(http_address_add(&b, "127.0.0.2:1", true, &e), 0);
	assert_true(str_eqz(buf_str(&b), "127.0.0.1:9000,127.0.0.2:1s"));
	buf_reset(&b);
	assert_int_equal(http_address_add(&b, ":9000", false, &e), 0);
	assert_true(
	    str_eqz(buf_str(&b), "+9000") || str_eqz(buf_str(&b), "9000"));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(http_address_add(&b, bad[i], false, &e),
		    ERR_CONFIG);
	buf_fini(&b);
}

static int
connect_six(int port)
{
	struct sockaddr_in6 six = { .sin6_family = AF_INET6,
		.sin6_port = htons((uint16_t)port),
		.sin6_addr = IN6ADDR_LOOPBACK_INIT };
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (struct sockaddr *)&six, sizeof(six)) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* The default listener takes both families, or IPv4 where there is no other. */
static void
test_dual_stack(void **state)
{
	const char *const addresses[] = { ":0", "127.0.0.1:0" };
	struct http_conf c = test_conf();
	struct http_server *s;
	char text[4096];
	int fd;

	(void)state;
	c.addresses = addresses;
	c.n_addresses = 2;
	s = test_start(&c);
	assert_non_null(http_server_address(s, 1));
	assert_null(http_server_address(s, 2));
	fd = must_connect(s);
	get(fd, "/a");
	assert_int_equal(answer(fd, text, sizeof(text), 5000), 200);
	assert_non_null(strstr(text, "remote=127.0.0.1\n"));
	close(fd);
	if (http_server_address(s, 0)[0] == '[') {
		fd = connect_six(port_of(s));
		if (fd >= 0) { /* else: no IPv6 loopback here */
			get(fd, "/a");
			assert_int_equal(answer(fd, text, sizeof(text), 5000),
			    200);
			assert_non_null(strstr(text, "remote=::1\n"));
			close(fd);
		}
	}
	http_server_stop(&s);
	assert_null(s);
}

static void
test_port_taken(void **state)
{
	struct http_conf c = test_conf();
	struct http_server *s = test_start(&c), *other = NULL;
	const char *taken = http_server_address(s, 0);
	struct err e = ERR_INIT;

	(void)state;
	c.addresses = &taken;
	assert_int_equal(http_server_start(&c, &other, &e), ERR_CONFIG);
	assert_non_null(strstr(e.msg, "Address already in use"));
	assert_null(other);
	http_server_stop(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_listen_forms),
		cmocka_unit_test(test_dual_stack),
		cmocka_unit_test(test_port_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
