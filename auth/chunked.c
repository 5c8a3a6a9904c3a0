/* auth/chunked.c - decoding and verifying aws-chunked.
 *
 * Raw bytes are read straight into the caller's buffer and decoded in place,
 * so there is no copy and no buffer but one line's.
 *
 * C1  state DONE only after the last chunk, all signatures, the decoded length
 *     and the trailers were right and the source had nothing more.
 * C2  An error is final: every later read repeats it.
 * C3  Memory is fixed at birth: one line, one section of trailers.
 *
 * Frames: "<hex>[;chunk-signature=<64 hex>]\r\n<bytes>\r\n", the last with size
 * 0, without bytes and their CRLF; then the trailers, one "name:value" a line,
 * which end with CRLF (minio-go: LF CRLF); for the signed kind a line
 * "x-amz-trailer-signature:<64 hex>"; then a CRLF that some SDKs leave out. */
#include "auth/chunked.h"
#include "auth/sigv4.h"
#include "lib/hash.h"

#define CHUNKED_MAGIC 0xc4a2c4edu
#define LINE_MAX_BYTES 4096
#define TRAILERS_MAX 16
#define SECTION_MAX 16384

enum state {
	STATE_HEADER,  /* in a chunk's first line */
	STATE_DATA,    /* `left` bytes to come */
	STATE_DATA_CR, /* the CRLF behind the bytes */
	STATE_DATA_LF,
	STATE_TRAILER, /* in a line behind the last chunk */
	STATE_TAIL,    /* all read, only the source's end may follow */
	STATE_DONE,
	STATE_FAILED,
};

struct aws_chunked {
	unsigned magic;
	enum state state;
	bool is_signed, has_trailers;
	const struct auth *au;
	aws_chunked_source src;
	void *src_arg;
	struct arena *arena;
	struct err failure; /* C2 */

	uint64_t left, decoded, decoded_length;
	struct hashes sha; /* of the chunk's bytes */
	struct hmac_key key;
	char previous[64]; /* signature before this one */
	char claimed[64];  /* this chunk's */
	struct cat text;   /* room for a string to sign */

	char line[LINE_MAX_BYTES];
	size_t line_len;

	struct str announced[TRAILERS_MAX];
	size_t n_announced;
	struct header trailers[TRAILERS_MAX];
	size_t n_trailers, section;
	bool trailer_signed, blank_seen;
};

static int
bad(struct err *e, const char *what)
{
	return err_set(e, ERR_INVALID_REQUEST, "aws-chunked body: %s", what);
}

static int
bad_trailer(struct err *e, const char *what)
{
	return err_set(e, ERR_MALFORMED_TRAILER, "%s", what);
}

int
aws_chunked_new(const struct auth *au, uint64_t decoded_length,
    const struct str *announced, size_t n_announced, aws_chunked_source src,
    void *src_arg, struct arena *a, struct aws_chunked **ret, struct err *e)
{
	struct aws_chunked *c;

	if (n_announced > TRAILERS_MAX)
		return err_set(e, ERR_INVALID_REQUEST, "too many trailers");
	for (size_t i = 0; i < n_announced; i++) {
		for (size_t k = 0; k < i; k++) {
			if (str_ieq(announced[i], announced[k]))
				return err_set(e, ERR_INVALID_REQUEST,
				    "x-amz-trailer names a header twice");
		}
	}
	c = arena_alloc(a, sizeof(*c));
	if (c == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	memset(c, 0, sizeof(*c));
	c->magic = CHUNKED_MAGIC;
	c->au = au;
	c->src = src;
	c->src_arg = src_arg;
	c->arena = a;
	c->decoded_length = decoded_length;
	for (size_t i = 0; i < n_announced; i++)
		c->announced[i] = announced[i];
	c->n_announced = n_announced;
	c->is_signed = au->payload == AUTH_PAYLOAD_STREAM ||
	               au->payload == AUTH_PAYLOAD_STREAM_TRAILER;
	c->has_trailers = au->payload == AUTH_PAYLOAD_STREAM_TRAILER ||
	                  au->payload == AUTH_PAYLOAD_STREAM_UNSIGNED_TRAILER;
	MUST(c->is_signed || c->has_trailers);
	if (c->is_signed) {
		/* auth_verify() saw it: 64 hex digits. */
		MUST(au->signature.len == sizeof(c->previous));
		memcpy(c->previous, au->signature.p, sizeof(c->previous));
		hmac_key_init(&c->key, str_mem(au->signing_key, 32));
		c->text.size = au->amz_date.len + au->scope.len + 256;
		c->text.p = arena_alloc(a, c->text.size);
		if (c->text.p == NULL)
			return err_set(e, ERR_NO_MEMORY, NULL);
	}
	*ret = c;
	return 0;
}

const struct header *
aws_chunked_trailers(const struct aws_chunked *c, size_t *ret_n)
{
	OBJ_CHECK(c, CHUNKED_MAGIC);
	*ret_n = c->state == STATE_DONE ? c->n_trailers : 0;
	return c->trailers;
}

/* --- signatures --- */

/* Checks @claimed over "<algorithm>\n<date>\n<scope>\n<previous>\n<tail>" and
 * makes it the previous one. */
static int
check_signature(struct aws_chunked *c, struct str algorithm, struct str tail,
    struct str claimed, struct err *e)
{
	struct cat t = c->text;
	uint8_t mac[32];
	char hex[64];

	cat_str(&t, algorithm);
	cat_c(&t, '\n');
	cat_str(&t, c->au->amz_date);
	cat_c(&t, '\n');
	cat_str(&t, c->au->scope);
	cat_c(&t, '\n');
	cat_mem(&t, c->previous, sizeof(c->previous));
	cat_c(&t, '\n');
	cat_str(&t, tail);
	MUST(!t.full);
	hmac_sign(&c->key, str_mem(t.p, t.len), mac);
	hex_encode(mac, sizeof(mac), hex);
	if (!str_eq_secret(str_mem(hex, sizeof(hex)), claimed))
		return err_set(e, ERR_SIGNATURE_DOES_NOT_MATCH, NULL);
	memcpy(c->previous, hex, sizeof(hex));
	return 0;
}

/* SHA-256 of nothing, then of the chunk. */
#define EMPTY_HASH                                                             \
	"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static int
end_of_chunk(struct aws_chunked *c, struct err *e)
{
	char tail[] = EMPTY_HASH "\n" EMPTY_HASH;
	struct hash_values v;

	if (!c->is_signed)
		return 0;
	hashes_final(&c->sha, &v);
	hex_encode(v.v[HASH_SHA256], 32, tail + 65);
	return check_signature(c, STR_LIT("AWS4-HMAC-SHA256-PAYLOAD"),
	    str_mem(tail, sizeof(tail) - 1), str_mem(c->claimed, 64), e);
}

/* --- lines --- */

static bool
parse_size(struct str s, uint64_t *ret)
{
	uint64_t v = 0;

	if (s.len == 0 || s.len > 16)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		char x = s.p[i];
		unsigned d;

		if (x >= '0' && x <= '9')
			d = (unsigned)(x - '0');
		else if (x >= 'a' && x <= 'f')
			d = (unsigned)(x - 'a' + 10);
		else if (x >= 'A' && x <= 'F')
			d = (unsigned)(x - 'A' + 10);
		else
			return false;
		v = v << 4 | d;
	}
	*ret = v;
	return true;
}

static int
header_line(struct aws_chunked *c, struct str line, struct err *e)
{
	static const struct str name = STR_LIT("chunk-signature=");
	struct str ext = line, size = str_split(&ext, ';');
	int rc;

	if (!parse_size(size, &c->left))
		return bad(e, "a chunk size is not valid");
	if (!c->is_signed) {
		if (ext.p != NULL)
			return bad(e, "chunk extensions are not allowed here");
	} else {
		if (!str_has_prefix(ext, name))
			return bad(e, "a chunk has no chunk-signature");
		ext = str_skip(ext, name.len);
		if (ext.len != sizeof(c->claimed))
			return err_set(e, ERR_SIGNATURE_DOES_NOT_MATCH, NULL);
		memcpy(c->claimed, ext.p, ext.len);
		hashes_init(&c->sha, HASH_BIT(HASH_SHA256));
	}
	if (c->left > c->decoded_length - c->decoded)
		return bad(e, "it is longer than x-amz-decoded-content-length");
	if (c->left > 0) {
		c->state = STATE_DATA;
		return 0;
	}
	rc = end_of_chunk(c, e);
	if (rc < 0)
		return rc;
	if (c->decoded != c->decoded_length)
		return err_set(e, ERR_INCOMPLETE_BODY,
		    "The decoded body is shorter than "
		    "x-amz-decoded-content-length");
	c->state = STATE_TRAILER;
	return 0;
}

static int
trailer_signature(struct aws_chunked *c, struct str value, struct err *e)
{
	struct hash_values v;
	struct hashes h;
	char hex[64];
	int rc;

	hashes_init(&h, HASH_BIT(HASH_SHA256));
	for (size_t i = 0; i < c->n_trailers; i++) {
		const struct header *t = &c->trailers[i];

		hashes_update(&h, t->name.p, t->name.len);
		hashes_update(&h, ":", 1);
		hashes_update(&h, t->value.p, t->value.len);
		hashes_update(&h, "\n", 1);
	}
	hashes_final(&h, &v);
	hex_encode(v.v[HASH_SHA256], 32, hex);
	rc = check_signature(c, STR_LIT("AWS4-HMAC-SHA256-TRAILER"),
	    str_mem(hex, sizeof(hex)), value, e);
	if (rc == 0)
		c->trailer_signed = true;
	return rc;
}

static int
add_trailer(struct aws_chunked *c, struct str name, struct str value,
    struct err *e)
{
	struct header *t;
	bool known = false;
	char *p;

	for (size_t i = 0; i < c->n_announced; i++)
		known |= str_ieq(c->announced[i], name);
	if (!known)
		return bad_trailer(e,
		    "a trailer was not announced in x-amz-trailer");
	for (size_t i = 0; i < c->n_trailers; i++) {
		if (str_ieq(c->trailers[i].name, name))
			return bad_trailer(e, "a trailer came twice");
	}
	MUST(c->n_trailers < TRAILERS_MAX); /* at most the announced ones */
	p = arena_alloc(c->arena, name.len + value.len);
	if (p == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	for (size_t i = 0; i < name.len; i++) {
		char x = name.p[i];

		p[i] = (char)(x >= 'A' && x <= 'Z' ? x + 32 : x);
	}
	if (value.len > 0)
		memcpy(p + name.len, value.p, value.len);
	t = &c->trailers[c->n_trailers++];
	t->name = str_mem(p, name.len);
	t->value = str_mem(p + name.len, value.len);
	return 0;
}

static int
check_trailers(struct aws_chunked *c, struct err *e)
{
	if (c->is_signed && c->has_trailers && !c->trailer_signed)
		return err_set(e, ERR_SIGNATURE_DOES_NOT_MATCH,
		    "The trailers are not signed");
	if (c->n_trailers != c->n_announced)
		return bad_trailer(e,
		    "a trailer announced in x-amz-trailer is missing");
	return 0;
}

static int
trailer_line(struct aws_chunked *c, struct str line, struct err *e)
{
	struct str value = line, name;

	if (line.len == 0) {
		/* minio-go and AWS's own example put an empty line before the
		 * signature. */
		if (c->is_signed && c->has_trailers && !c->trailer_signed &&
		    !c->blank_seen) {
			c->blank_seen = true;
			return 0;
		}
		c->state = STATE_TAIL;
		return check_trailers(c, e);
	}
	if (!c->has_trailers)
		return bad(e, "data after the last chunk");
	if (c->trailer_signed)
		return bad_trailer(e, "data after the trailer signature");
	name = str_trim(str_split(&value, ':'));
	if (value.p == NULL || name.len == 0)
		return bad_trailer(e, "a trailer is not \"name:value\"");
	value = str_trim(value);
	if (c->is_signed && str_ieq(name, STR_LIT("x-amz-trailer-signature")))
		return trailer_signature(c, value, e);
	if (c->blank_seen)
		return bad_trailer(e, "data after the trailers");
	return add_trailer(c, name, value, e);
}

/* --- the machine --- */

/* Takes bytes up to a line's end; *ret_line is set when there is a whole one.
 * Lines of chunks end with CRLF; in trailers LF is enough. */
static int
take_line(struct aws_chunked *c, const char **p, const char *end, bool *ret,
    struct str *ret_line, struct err *e)
{
	const char *lf = memchr(*p, '\n', (size_t)(end - *p));
	const char *stop = lf == NULL ? end : lf;
	size_t n = (size_t)(stop - *p), max = sizeof(c->line);

	*ret = false;
	if (c->state == STATE_HEADER)
		max = 128; /* size, ";chunk-signature=", 64 digits, CR */
	if (n > max - c->line_len)
		return bad(e, "a line is too long");
	memcpy(c->line + c->line_len, *p, n);
	c->line_len += n;
	*p = lf == NULL ? end : lf + 1;
	if (lf == NULL)
		return 0;
	n = c->line_len;
	c->line_len = 0;
	if (n > 0 && c->line[n - 1] == '\r')
		n--;
	else if (c->state == STATE_HEADER)
		return bad(e, "a chunk's first line does not end with CRLF");
	*ret = true;
	*ret_line = str_mem(c->line, n);
	return 0;
}

static int
step_line(struct aws_chunked *c, const char **p, const char *end, struct err *e)
{
	const char *from = *p;
	struct str line;
	bool whole;
	int rc;

	rc = take_line(c, p, end, &whole, &line, e);
	if (rc < 0)
		return rc;
	if (c->state == STATE_TRAILER) {
		c->section += (size_t)(*p - from);
		if (c->section > SECTION_MAX)
			return bad_trailer(e, "the trailers are too long");
	}
	if (!whole)
		return 0;
	return c->state == STATE_HEADER ? header_line(c, line, e)
	                                : trailer_line(c, line, e);
}

static int
step_data_end(struct aws_chunked *c, char x, struct err *e)
{
	if (x != (c->state == STATE_DATA_CR ? '\r' : '\n'))
		return bad(e, "a chunk's bytes are not followed by CRLF");
	if (c->state == STATE_DATA_CR) {
		c->state = STATE_DATA_LF;
		return 0;
	}
	c->state = STATE_HEADER;
	return end_of_chunk(c, e);
}

/* Decodes @len raw bytes at @buf in place. */
static int
decode(struct aws_chunked *c, char *buf, size_t len, size_t *ret_len,
    struct err *e)
{
	const char *p = buf, *end = buf + len;
	char *out = buf;
	int rc = 0;

	while (p < end && rc == 0) {
		size_t n = (size_t)(end - p);

		switch (c->state) {
		case STATE_HEADER:
		case STATE_TRAILER:
			rc = step_line(c, &p, end, e);
			break;
		case STATE_DATA:
			if (n > c->left)
				n = (size_t)c->left;
			if (c->is_signed)
				hashes_update(&c->sha, p, n);
			if (out != p)
				memmove(out, p, n);
			out += n;
			p += n;
			c->left -= n;
			c->decoded += n;
			if (c->left == 0)
				c->state = STATE_DATA_CR;
			break;
		case STATE_DATA_CR:
		case STATE_DATA_LF:
			rc = step_data_end(c, *p++, e);
			break;
		default:
			rc = bad(e, "data after the end");
		}
	}
	*ret_len = (size_t)(out - buf);
	return rc;
}

/* The source ended: was that the place for it? */
static int
source_end(struct aws_chunked *c, struct err *e)
{
	int rc = 0;

	/* The CRLF behind the trailers may be missing, and the one of their
	 * last line. */
	if (c->state == STATE_TRAILER && c->line_len > 0) {
		struct str line = str_mem(c->line, c->line_len);

		if (line.p[line.len - 1] == '\r')
			line.len--;
		c->line_len = 0;
		rc = trailer_line(c, line, e);
	}
	if (rc == 0 && c->state == STATE_TRAILER) {
		rc = check_trailers(c, e);
		if (rc == 0)
			c->state = STATE_TAIL;
	}
	if (rc < 0)
		return rc;
	if (c->state != STATE_TAIL)
		return err_set(e, ERR_INCOMPLETE_BODY, NULL);
	c->state = STATE_DONE;
	return 0;
}

int
aws_chunked_read(struct aws_chunked *c, void *p, size_t len, size_t *ret_len,
    struct err *e)
{
	size_t n = 0, raw;
	int rc = 0;

	OBJ_CHECK(c, CHUNKED_MAGIC);
	MUST(len > 0);
	if (c->state == STATE_FAILED)
		return err_set(e, c->failure.code, "%s", c->failure.msg);
	while (n == 0 && rc == 0 && c->state != STATE_DONE) {
		rc = c->src(c->src_arg, p, len, &raw, &c->failure);
		if (rc == 0 && raw == 0)
			rc = source_end(c, &c->failure);
		else if (rc == 0)
			rc = decode(c, p, raw, &n, &c->failure);
	}
	if (rc < 0) {
		c->state = STATE_FAILED;
		c->failure.code = rc;
		return err_set(e, rc, "%s", c->failure.msg);
	}
	*ret_len = n;
	return 0;
}
