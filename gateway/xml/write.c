/* gateway/xml/write.c - answers (xml.h). */
#include "gateway/xml/xml.h"
#include "lib/clock.h"

/* 0 stays, 1 has a name, 2 is a control character, 3 may be broken UTF-8. */
static const uint8_t char_class[256] = {
	[0] = 2,
	[1 ... 8] = 2,
	[11 ... 31] = 2,
	['"'] = 1,
	['&'] = 1,
	['<'] = 1,
	['>'] = 1,
	[128 ... 255] = 3,
};

static struct str
escape_of(unsigned char c, char tmp[8])
{
	static const char hex[] = "0123456789ABCDEF";
	size_t n = 3;

	switch (c) {
	case '"':
		return STR_LIT("&quot;");
	case '&':
		return STR_LIT("&amp;");
	case '<':
		return STR_LIT("&lt;");
	case '>':
		return STR_LIT("&gt;");
	default:
		break;
	}
	if (c == 0 || c >= 0x80)
		return STR_LIT("\xef\xbf\xbd");
	memcpy(tmp, "&#x", 3);
	if (c >= 16)
		tmp[n++] = '1';
	tmp[n++] = hex[c & 15];
	tmp[n++] = ';';
	return str_mem(tmp, n);
}

int
xml_escape(struct buf *b, struct str s)
{
	size_t before = b->len, from = 0;
	int valid = -1; /* not looked yet */
	char tmp[8];
	int rc;

	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (char_class[c] == 0)
			continue;
		if (char_class[c] == 3) {
			if (valid < 0)
				valid = utf8_is_valid(s);
			if (valid)
				continue;
		}
		rc = buf_add(b, s.p + from, i - from);
		if (rc == 0)
			rc = buf_adds(b, escape_of(c, tmp));
		if (rc < 0)
			goto out_cut;
		from = i + 1;
	}
	rc = from == s.len ? 0 : buf_add(b, s.p + from, s.len - from);
	if (rc == 0)
		return 0;
out_cut:
	b->len = before;
	return rc;
}

static void
add(struct xml_writer *w, const char *z)
{
	if (w->rc == 0)
		w->rc = buf_addz(w->b, z);
}

static void
tag(struct xml_writer *w, const char *begin, const char *name)
{
	size_t n = strlen(begin), k = strlen(name);
	char *p;

	if (w->rc == 0)
		w->rc = buf_reserve(w->b, n + k + 1);
	if (w->rc < 0)
		return;
	p = w->b->p + w->b->len;
	memcpy(p, begin, n);
	memcpy(p + n, name, k);
	p[n + k] = '>';
	w->b->len += n + k + 1;
}

void
xml_begin(struct xml_writer *w, struct buf *b, const char *root, const char *ns)
{
	*w = (struct xml_writer){ .b = b };
	add(w, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<");
	add(w, root);
	if (ns != NULL) {
		add(w, " xmlns=\"");
		add(w, ns);
		add(w, "\"");
	}
	add(w, ">");
}

void
xml_open(struct xml_writer *w, const char *name)
{
	tag(w, "<", name);
}

void
xml_close(struct xml_writer *w, const char *name)
{
	tag(w, "</", name);
}

void
xml_text(struct xml_writer *w, const char *name, struct str v)
{
	xml_open(w, name);
	if (w->rc == 0)
		w->rc = xml_escape(w->b, v);
	xml_close(w, name);
}

void
xml_textz(struct xml_writer *w, const char *name, const char *v)
{
	xml_text(w, name, str_of(v));
}

void
xml_text_url(struct xml_writer *w, const char *name, struct str v)
{
	xml_open(w, name);
	if (w->rc == 0)
		w->rc = buf_add_pct(w->b, v, true);
	xml_close(w, name);
}

void
xml_uint(struct xml_writer *w, const char *name, uint64_t v)
{
	char tmp[20], *p = tmp + sizeof(tmp);

	do {
		*--p = (char)('0' + v % 10);
		v /= 10;
	} while (v > 0);
	xml_open(w, name);
	if (w->rc == 0)
		w->rc = buf_add(w->b, p, (size_t)(tmp + sizeof(tmp) - p));
	xml_close(w, name);
}

void
xml_truth(struct xml_writer *w, const char *name, bool v)
{
	xml_textz(w, name, v ? "true" : "false");
}

void
xml_time(struct xml_writer *w, const char *name, int64_t unix_ns)
{
	char iso[25];

	clock_fmt_iso(unix_ns, iso);
	xml_textz(w, name, iso);
}

int
xml_end(struct xml_writer *w, const char *root, struct err *e)
{
	xml_close(w, root);
	return w->rc == 0 ? 0 : err_set(e, w->rc, NULL);
}
