/* TLS: versions, certificates by name, reload, bodies both ways. */
#include "lib/fs.h"
#include "tests/unit/http/client.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

static char dir[64];

static void
write_pem(const char *path, X509 *x, EVP_PKEY *key)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	if (x != NULL)
		assert_int_equal(PEM_write_X509(f, x), 1);
	else
		assert_int_equal(PEM_write_PrivateKey(f, key, NULL, NULL, 0,
				     NULL, NULL),
		    1);
	fclose(f);
}

/* DIR/FILE.crt and .key: self-signed for @cn, and @san unless NULL. */
static void
make_cert(const char *file, const char *cn, const char *san)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	char path[128];
	X509_NAME *name;

	assert_non_null(key);
	assert_non_null(x);
	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	X509_gmtime_adj(X509_getm_notBefore(x), -3600);
	X509_gmtime_adj(X509_getm_notAfter(x), 86400);
	X509_set_pubkey(x, key);
	name = X509_get_subject_name(x);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
	    (const unsigned char *)cn, -1, -1, 0);
	X509_set_issuer_name(x, name);
	if (san != NULL) {
		X509_EXTENSION *ext =
		    X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, san);

		assert_non_null(ext);
		X509_add_ext(x, ext, -1);
		X509_EXTENSION_free(ext);
	}
	assert_true(X509_sign(x, key, EVP_sha256()) > 0);
	snprintf(path, sizeof(path), "%s/%s.crt", dir, file);
	write_pem(path, x, NULL);
	snprintf(path, sizeof(path), "%s/%s.key", dir, file);
	write_pem(path, NULL, key);
	X509_free(x);
	EVP_PKEY_free(key);
}

struct peer {
	int fd;
	SSL_CTX *ctx;
	SSL *ssl;
};

static void
peer_close(struct peer *p)
{
	SSL_free(p->ssl);
	SSL_CTX_free(p->ctx);
	close(p->fd);
}

/* False when the handshake fails. @max_version 0: any. */
static bool
peer_open(struct peer *p, struct http_server *s, const char *name,
    int max_version)
{
	p->ctx = SSL_CTX_new(TLS_client_method());
	assert_non_null(p->ctx);
	SSL_CTX_set_security_level(p->ctx, 0);
	SSL_CTX_set_max_proto_version(p->ctx, max_version);
	p->fd = must_connect(s);
	p->ssl = SSL_new(p->ctx);
	SSL_set_fd(p->ssl, p->fd);
	/* SSL_set_tlsext_host_name() casts its const away. */
	if (name != NULL)
		SSL_ctrl(p->ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME,
		    TLSEXT_NAMETYPE_host_name, (void *)(uintptr_t)name);
	if (SSL_connect(p->ssl) == 1)
		return true;
	ERR_clear_error();
	peer_close(p);
	return false;
}

static void
peer_cn(struct peer *p, char cn[128])
{
	X509 *x = SSL_get1_peer_certificate(p->ssl);

	assert_non_null(x);
	X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, cn,
	    128);
	X509_free(x);
}

static void
check_cn(struct http_server *s, const char *name, const char *want)
{
	struct peer p;
	char cn[128];

	assert_true(peer_open(&p, s, name, 0));
	peer_cn(&p, cn);
	assert_string_equal(cn, want);
	peer_close(&p);
}

/* Everything up to the end of the connection. */
static size_t
peer_get(struct peer *p, const char *request, char *buf, size_t size)
{
	size_t at = 0;
	int n;

	assert_true(SSL_write(p->ssl, request, (int)strlen(request)) > 0);
	while (at + 1 < size &&
	       (n = SSL_read(p->ssl, buf + at, (int)(size - at - 1))) > 0)
		at += (size_t)n;
	buf[at] = '\0';
	return at;
}

static struct http_server *
start_tls(struct http_conf *c, char *cert, size_t size, char *key)
{
	snprintf(cert, size, "%s/one.crt", dir);
	snprintf(key, size, "%s/one.key", dir);
	c->tls_cert = cert;
	c->tls_key = key;
	return test_start(c);
}

static void
defer_handle(void *arg, struct http_req *r)
{
	bool is_deferred = http_defer(r);

	(void)arg;
	http_reply(r, 200, is_deferred ? STR_LIT("yes") : STR_LIT("no"));
}

/* An answer over TLS is made by the thread that has its session. */
static void
test_is_not_deferred(void **state)
{
	struct http_conf c = test_conf();
	struct http_server *s;
	char cert[128], key[128], buf[4096];
	struct peer p;

	(void)state;
	make_cert("one", "one.test", NULL);
	c.handle = defer_handle;
	s = start_tls(&c, cert, sizeof(cert), key);
	assert_true(peer_open(&p, s, NULL, 0));
	peer_get(&p, "GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
	    buf, sizeof(buf));
	assert_non_null(strstr(buf, "\r\n\r\nno"));
	peer_close(&p);
	http_server_stop(&s);
}

static void
test_requests(void **state)
{
	struct http_conf c = test_conf();
	struct http_server *s;
	char cert[128], key[128];
	size_t size = 3000000 + 4096, n;
	char *buf = malloc(size), *put;
	struct peer p;

	(void)state;
	make_cert("one", "one.test", NULL);
	s = start_tls(&c, cert, sizeof(cert), key);
	assert_true(peer_open(&p, s, NULL, 0));
	n = peer_get(&p,
	    "GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", buf,
	    size);
	assert_true(n > 0);
	assert_non_null(strstr(buf, "tls=1\n"));
	assert_int_equal(SSL_version(p.ssl), TLS1_3_VERSION);
	peer_close(&p);

	assert_true(peer_open(&p, s, NULL, TLS1_2_VERSION));
	n = peer_get(&p,
	    "GET /bytes/3000000 HTTP/1.1\r\nHost: h\r\n"
	    "Connection: close\r\n\r\n",
	    buf, size);
	assert_true(n > 3000000);
	peer_close(&p);

	put = malloc(size);
	n = (size_t)snprintf(put, size,
	    "PUT /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
	    "Content-Length: 3000000\r\n\r\n");
	memset(put + n, 'a', 3000000);
	put[n + 3000000] = '\0';
	assert_true(peer_open(&p, s, NULL, 0));
	peer_get(&p, put, buf, size);
	assert_non_null(strstr(buf, "length=3000000\n"));
	peer_close(&p);

	/* Refused early: the answer gets through. */
	memcpy(put, "PUT /deny", 9);
	n = (size_t)snprintf(put, size,
	    "PUT /deny HTTP/1.1\r\nHost: h\r\nContent-Length: 3000000\r\n\r\n");
	memset(put + n, 'a', 3000000);
	assert_true(peer_open(&p, s, NULL, 0));
	peer_get(&p, put, buf, size);
	assert_non_null(strstr(buf, "403 Forbidden"));
	peer_close(&p);
	free(put);
	free(buf);
	http_server_stop(&s);
}

static void
test_old_versions(void **state)
{
	struct http_conf c = test_conf();
	struct http_server *s;
	char cert[128], key[128];
	struct peer p;

	(void)state;
	make_cert("one", "one.test", NULL);
	s = start_tls(&c, cert, sizeof(cert), key);
	assert_false(peer_open(&p, s, NULL, TLS1_1_VERSION));
	assert_true(peer_open(&p, s, NULL, TLS1_2_VERSION));
	peer_close(&p);
	http_server_stop(&s);
}

static void
test_reload(void **state)
{
	struct http_conf c = test_conf();
	struct http_server *s;
	struct err e = ERR_INIT;
	char cert[128], key[128], buf[8192];
	struct peer old;

	(void)state;
	make_cert("one", "before.test", NULL);
	s = start_tls(&c, cert, sizeof(cert), key);
	assert_true(peer_open(&old, s, NULL, 0));
	check_cn(s, NULL, "before.test");
	make_cert("one", "after.test", NULL);
	assert_int_equal(http_server_reload_tls(s, &e), 0);
	check_cn(s, NULL, "after.test");
	/* A connection from before goes on. */
	assert_true(
	    peer_get(&old,
		"GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", buf,
		sizeof(buf)) > 0);
	assert_non_null(strstr(buf, "200 OK"));
	peer_close(&old);
	/* Nonsense on disk: said, and what was there stays. */
	assert_int_equal(fs_write_file(cert, STR_LIT("nonsense"), 0600, &e), 0);
	assert_int_equal(http_server_reload_tls(s, &e), ERR_CONFIG);
	assert_non_null(strstr(e.msg, "one.crt"));
	check_cn(s, NULL, "after.test");
	http_server_stop(&s);
}

static void
test_names(void **state)
{
	struct http_conf c = test_conf();
	struct err e = ERR_INIT;
	struct http_server *s;
	char path[128];

	(void)state;
	assert_int_equal(fs_remove_tree(dir, &e), 0);
	assert_int_equal(fs_mkdir(dir, &e), 0);
	make_cert("a.test", "a.test", NULL);
	make_cert("default", "default.test", NULL);
	make_cert("wild", "wild.test", "DNS:*.wild.test");
	c.tls_cert = dir;
	s = test_start(&c);
	check_cn(s, NULL, "default.test");
	check_cn(s, "a.test", "a.test");
	check_cn(s, "A.TEST", "a.test");
	check_cn(s, "x.wild.test", "wild.test");
	check_cn(s, "wild.test.other", "default.test");
	snprintf(path, sizeof(path), "%s/a.test.key", dir);
	assert_int_equal(fs_unlink(path, &e), 0);
	assert_int_equal(http_server_reload_tls(s, &e), ERR_CONFIG);
	check_cn(s, "a.test", "a.test");
	http_server_stop(&s);
}

static void
test_bad_config(void **state)
{
	struct http_conf c = test_conf();
	struct http_server *s = NULL;
	struct err e = ERR_INIT;

	(void)state;
	c.tls_cert = "/nonexistent.crt";
	c.tls_key = "/nonexistent.key";
	assert_int_equal(http_server_start(&c, &s, &e), ERR_CONFIG);
	assert_non_null(strstr(e.msg, "/nonexistent.crt"));
	c.tls_key = NULL;
	assert_int_equal(http_server_start(&c, &s, &e), ERR_CONFIG);
	assert_null(s);
}

/* Clients that never begin the handshake do not keep others out; plain HTTP
 * on a TLS port ends. */
static void
test_silent_handshakes(void **state)
{
	struct http_conf c = test_conf();
	struct http_server *s;
	char cert[128], key[128];
	int fds[100], fd;
	struct peer p;

	(void)state;
	make_cert("one", "one.test", NULL);
	s = start_tls(&c, cert, sizeof(cert), key);
	for (size_t i = 0; i < 100; i++)
		fds[i] = must_connect(s);
	assert_true(peer_open(&p, s, NULL, 0));
	peer_close(&p);
	for (size_t i = 0; i < 100; i++)
		close(fds[i]);
	fd = must_connect(s);
	get(fd, "/a");
	assert_true(is_closed(fd, 5000));
	close(fd);
	http_server_stop(&s);
}

static int
set_up(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/creel-tls-XXXXXX");
	return mkdtemp(dir) == NULL;
}

static int
tear_down(void **state)
{
	(void)state;
	return fs_remove_tree(dir, NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_is_not_deferred),
		cmocka_unit_test(test_old_versions),
		cmocka_unit_test(test_reload),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_bad_config),
		cmocka_unit_test(test_silent_handshakes),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
