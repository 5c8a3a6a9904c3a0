/* http/tls.c - the server's TLS context and its certificates.
 *
 * civetweb gets one SSL_CTX for life; a client-hello callback puts the current
 * certificate into each new connection, by the name that the client asks for,
 * so that a reload needs no restart and cuts nothing. TLS 1.2 at least; cipher
 * lists are OpenSSL's defaults.
 * Threads: the callback on workers, tls_reload() on any. */
#include "http/internal.h"
#include "lib/fs.h"
#include "lib/mem.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_CERTS 1000

struct cert {
	char *name; /* file name without .crt */
	SSL_CTX *ctx;
};

struct certs {
	struct cert *v; /* sorted by name */
	size_t n;
};

struct tls {
	char *cert, *key;
	SSL_CTX *front;
	struct lock lock; /* LOCK_RANK_LEAF: certs */
	struct certs certs;
};

static int
tls_error(struct err *e, const char *what)
{
	char text[160] = "";
	unsigned long code = ERR_get_error();

	if (ERR_SYSTEM_ERROR(code)) {
		errno = ERR_GET_REASON(code);
		snprintf(text, sizeof(text), "%m");
	} else if (code != 0) {
		ERR_error_string_n(code, text, sizeof(text));
	}
	ERR_clear_error();
	return err_set(e, ERR_CONFIG, "%s: %s", what, text);
}

static void
certs_fini(struct certs *c)
{
	for (size_t i = 0; i < c->n; i++) {
		SSL_CTX_free(c->v[i].ctx);
		mem_free(&c->v[i].name);
	}
	mem_free(&c->v);
	c->n = 0;
}

/* --- the callbacks --- */

/* server_name of a client hello (RFC 6066 3); empty when there is none. */
static void
wanted_name(SSL *ssl, char dst[256])
{
	const unsigned char *p;
	size_t len, n;

	dst[0] = '\0';
	if (!SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &p,
		&len) ||
	    len < 5 || p[2] != TLSEXT_NAMETYPE_host_name)
		return;
	n = (size_t)p[3] << 8 | p[4];
	if (n > len - 5 || n > 255 || memchr(p + 5, '\0', n) != NULL)
		return;
	for (size_t i = 0; i < n; i++)
		dst[i] = (char)(p[5 + i] >= 'A' && p[5 + i] <= 'Z'
				    ? p[5 + i] - 'A' + 'a'
				    : p[5 + i]);
	dst[n] = '\0';
}

/* File name first, then what the certificates say, then `default`, then the
 * first. */
static SSL_CTX *
choose(const struct certs *c, const char *name)
{
	for (size_t i = 0; i < c->n && name[0] != '\0'; i++) {
		if (strcmp(c->v[i].name, name) == 0)
			return c->v[i].ctx;
	}
	for (size_t i = 0; i < c->n && c->n > 1 && name[0] != '\0'; i++) {
		X509 *x = SSL_CTX_get0_certificate(c->v[i].ctx);

		if (x != NULL && X509_check_host(x, name, 0, 0, NULL) == 1)
			return c->v[i].ctx;
	}
	for (size_t i = 0; i < c->n; i++) {
		if (strcmp(c->v[i].name, "default") == 0)
			return c->v[i].ctx;
	}
	return c->n > 0 ? c->v[0].ctx : NULL;
}

static int
on_client_hello(SSL *ssl, int *alert, void *arg)
{
	struct tls *t = arg;
	char name[256];
	SSL_CTX *ctx;

	wanted_name(ssl, name);
	lock_take(&t->lock);
	ctx = choose(&t->certs, name);
	if (ctx != NULL)
		ctx = SSL_set_SSL_CTX(ssl, ctx); /* takes a reference */
	lock_drop(&t->lock);
	if (ctx == NULL) {
		*alert = SSL_AD_INTERNAL_ERROR;
		return SSL_CLIENT_HELLO_ERROR;
	}
	return SSL_CLIENT_HELLO_SUCCESS;
}

static int
on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
    const unsigned char *in, unsigned in_len, void *arg)
{
	static const unsigned char ours[] = "\x08http/1.1";
	unsigned char *p;

	(void)ssl;
	(void)arg;
	if (SSL_select_next_proto(&p, out_len, ours, sizeof(ours) - 1, in,
		in_len) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_NOACK;
	*out = p;
	return SSL_TLSEXT_ERR_OK;
}

/* --- loading --- */

static SSL_CTX *
new_ctx(void)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	if (ctx == NULL)
		return NULL;
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_options(ctx,
	    SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE |
		SSL_OP_NO_COMPRESSION | SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
				  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				  SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	return ctx;
}

static int
load_cert(struct certs *c, const char *name, const char *cert, const char *key,
    struct err *e)
{
	struct cert *v;
	SSL_CTX *ctx;

	if (c->n >= MAX_CERTS)
		return err_set(e, ERR_CONFIG, "more than %d certificates",
		    MAX_CERTS);
	v = mem_realloc(c->v, (c->n + 1) * sizeof(*v));
	if (v == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	c->v = v;
	ERR_clear_error();
	ctx = new_ctx();
	if (ctx == NULL)
		return tls_error(e, "TLS");
	if (SSL_CTX_use_certificate_chain_file(ctx, cert) != 1) {
		SSL_CTX_free(ctx);
		return tls_error(e, cert);
	}
	if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_check_private_key(ctx) != 1) {
		SSL_CTX_free(ctx);
		return tls_error(e, key);
	}
	v[c->n].ctx = ctx;
	v[c->n].name = str_dupz(str_of(name));
	if (v[c->n].name == NULL) {
		SSL_CTX_free(ctx);
		return err_set(e, ERR_NO_MEMORY, NULL);
	}
	c->n++;
	return 0;
}

struct walk {
	const char *dir;
	struct certs *certs;
	struct err *e;
};

static int
load_entry(void *arg, const char *file)
{
	struct walk *w = arg;
	char cert[4096], key[4096], name[256];
	struct str s = str_of(file);

	if (!str_has_suffix(s, STR_LIT(".crt")) || s.len - 4 >= sizeof(name) ||
	    s.len == 4)
		return 0;
	memcpy(name, s.p, s.len - 4);
	name[s.len - 4] = '\0';
	if (snprintf(cert, sizeof(cert), "%s/%s.crt", w->dir, name) >=
		(int)sizeof(cert) ||
	    snprintf(key, sizeof(key), "%s/%s.key", w->dir, name) >=
		(int)sizeof(key))
		return err_set(w->e, ERR_CONFIG, "%s: name too long", w->dir);
	return load_cert(w->certs, name, cert, key, w->e);
}

static int
by_name(const void *a, const void *b)
{
	const struct cert *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static int
load_all(const struct tls *t, struct certs *ret, struct err *e)
{
	struct certs c = { 0 };
	struct walk w = { t->cert, &c, e };
	int rc;

	if (fs_is_dir(t->cert)) {
		rc = fs_each(t->cert, load_entry, &w, e);
		if (rc == 0 && c.n == 0)
			rc = err_set(e, ERR_CONFIG,
			    "%s: no NAME.crt with NAME.key", t->cert);
	} else if (t->key == NULL) {
		rc = err_set(e, ERR_CONFIG,
		    "%s needs its key: tls_key is not given", t->cert);
	} else {
		rc = load_cert(&c, "default", t->cert, t->key, e);
	}
	if (rc < 0) {
		certs_fini(&c);
		return rc;
	}
	qsort(c.v, c.n, sizeof(c.v[0]), by_name);
	*ret = c;
	return 0;
}

int
tls_reload(struct tls *t, struct err *e)
{
	struct certs fresh, old;
	int rc;

	rc = load_all(t, &fresh, e);
	if (rc < 0)
		return rc; /* the old ones stay */
	lock_take(&t->lock);
	old = t->certs;
	t->certs = fresh;
	lock_drop(&t->lock);
	certs_fini(&old);
	return 0;
}

int
tls_new(const char *cert, const char *key, struct tls **ret, struct err *e)
{
	struct tls *t = mem_zalloc(sizeof(*t));
	int rc;

	if (t == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	lock_init(&t->lock, LOCK_RANK_LEAF);
	t->cert = str_dupz(str_of(cert));
	t->key = key == NULL ? NULL : str_dupz(str_of(key));
	t->front = new_ctx();
	if (t->cert == NULL || (key != NULL && t->key == NULL) ||
	    t->front == NULL) {
		tls_free(&t);
		return err_set(e, ERR_NO_MEMORY, NULL);
	}
	SSL_CTX_set_client_hello_cb(t->front, on_client_hello, t);
	SSL_CTX_set_alpn_select_cb(t->front, on_alpn, NULL);
	rc = load_all(t, &t->certs, e);
	if (rc < 0) {
		tls_free(&t);
		return rc;
	}
	*ret = t;
	return 0;
}

struct ssl_ctx_st *
tls_ctx(struct tls *t)
{
	return t->front;
}

void
tls_free(struct tls **tp)
{
	struct tls *t = *tp;

	if (t == NULL)
		return;
	certs_fini(&t->certs);
	SSL_CTX_free(t->front);
	lock_fini(&t->lock);
	mem_free(&t->cert);
	mem_free(&t->key);
	mem_free(tp);
}

void
tls_thread_rests(void)
{
	/* A worker without a connection would keep random generators and an
	 * error queue: some 10 KiB, of each that has ever had one. */
	OPENSSL_thread_stop();
}
