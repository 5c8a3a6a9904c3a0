/* cli/client.c - see cli/client.h. */
#include "cli/client.h"

#include "auth/auth.h"
#include "lib/clock.h"
#include "lib/hash.h"

#include <curl/curl.h>

#include <stdio.h>

#define CLIENT_URL_MAX (16 * 1024)
#define CLIENT_CONNECT_S 10L

static size_t
on_data(char *p, size_t size, size_t n, void *arg)
{
	struct buf *b = arg;

	return buf_add(b, p, size * n) == 0 ? size * n : 0;
}

/* host[:port] as libcurl will send it: without the scheme's own port. */
static int
host_of(const char *endpoint, struct str *ret, struct err *e)
{
	struct str s = str_of(endpoint), port;
	bool is_tls;

	if (str_has_prefix(s, STR_LIT("http://")))
		is_tls = false;
	else if (str_has_prefix(s, STR_LIT("https://")))
		is_tls = true;
	else
		return err_set(e, ERR_CONFIG,
		    "the endpoint begins with http:// or https://: %s",
		    endpoint);
	s = str_skip(s, is_tls ? 8 : 7);
	if (s.len > 0 && s.p[s.len - 1] == '/')
		s.len--;
	if (s.len == 0 || str_chr(s, '/') >= 0)
		return err_set(e, ERR_CONFIG, "the endpoint has no path: %s",
		    endpoint);
	port = is_tls ? STR_LIT(":443") : STR_LIT(":80");
	if (str_has_suffix(s, port))
		s.len -= port.len;
	*ret = s;
	return 0;
}

/* The headers of a signed request, as libcurl wants them. */
static int
sign_headers(const struct client *c, const char *method, const char *path,
    const char *query, struct str body, struct str host,
    struct curl_slist **list, struct err *e)
{
	struct buf value = BUF_CAP(4096);
	char date[17], line[4200], hash[65];
	uint8_t digest[32];
	struct header h[3];
	struct curl_slist *more;
	size_t i;
	int rc;

	hash_sha256(body.p, body.len, digest);
	hex_encode(digest, sizeof(digest), hash);
	hash[64] = '\0';
	clock_fmt_basic(clock_real_s(), date);
	h[0] = (struct header){ STR_LIT("host"), host };
	h[1] = (struct header){ STR_LIT("x-amz-content-sha256"), str_of(hash) };
	h[2] = (struct header){ STR_LIT("x-amz-date"), str_of(date) };
	rc = auth_sign(str_of(method), str_of(path), str_of(query), h, 3,
	    str_of(c->creds.user), str_of(c->creds.password),
	    STR_LIT("us-east-1"), clock_real_s(), &value, e);
	for (i = 0; rc == 0 && i < 4; i++) {
		if (i < 3)
			snprintf(line, sizeof(line), STR_FMT ": " STR_FMT,
			    STR_ARG(h[i].name), STR_ARG(h[i].value));
		else
			snprintf(line, sizeof(line), "authorization: " STR_FMT,
			    STR_ARG(buf_str(&value)));
		more = curl_slist_append(*list, line);
		if (more == NULL)
			rc = err_set(e, ERR_NO_MEMORY, NULL);
		else
			*list = more;
	}
	buf_fini(&value);
	return rc;
}

static int
perform(CURL *curl, const struct client *c, const char *method, const char *url,
    struct curl_slist *headers, struct str body, struct buf *ret,
    int *ret_status, struct err *e)
{
	char why[CURL_ERROR_SIZE] = "";
	CURLcode rc;
	long status = 0;

	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CLIENT_CONNECT_S);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, ret);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	if (body.len > 0) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.p);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE,
		    (curl_off_t)body.len);
	}
	if (c->ca != NULL)
		curl_easy_setopt(curl, CURLOPT_CAINFO, c->ca);
	if (c->insecure) {
		curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
	}
	rc = curl_easy_perform(curl);
	if (rc != CURLE_OK)
		return err_set(e, ERR_IO, "%s: %s", c->endpoint,
		    why[0] != '\0' ? why : curl_easy_strerror(rc));
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	*ret_status = (int)status;
	return 0;
}

int
client_call(const struct client *c, const char *method, const char *path,
    const char *query, struct str body, bool sign, struct buf *ret,
    int *ret_status, struct err *e)
{
	struct buf url = BUF_CAP(CLIENT_URL_MAX);
	struct curl_slist *headers = NULL;
	struct str host;
	CURL *curl = NULL;
	int rc;

	rc = host_of(c->endpoint, &host, e);
	if (rc == 0)
		rc = buf_addf(&url, "%.*s" STR_FMT "%s%s%s",
		    c->endpoint[4] == 's' ? 8 : 7, c->endpoint, STR_ARG(host),
		    path, query[0] != '\0' ? "?" : "", query);
	if (rc == 0)
		rc = buf_addc(&url, '\0');
	if (rc == 0 && sign)
		rc = sign_headers(c, method, path, query, body, host, &headers,
		    e);
	if (rc < 0)
		goto out;
	curl = curl_easy_init();
	if (curl == NULL) {
		rc = err_set(e, ERR_NO_MEMORY, NULL);
		goto out;
	}
	rc = perform(curl, c, method, url.p, headers, body, ret, ret_status, e);
out:
	curl_easy_cleanup(curl);
	curl_slist_free_all(headers);
	buf_fini(&url);
	return rc;
}
