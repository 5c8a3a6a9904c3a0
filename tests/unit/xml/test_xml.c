/* XML bodies: what S3 clients send, and what nobody should (S3.md section 4,
 * item 19). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "gateway/xml/xml.h"
#include "lib/clock.h"

static const struct xml_limits limits = { 4u << 20, 0, 10000 };

static int
parse(struct str body, const char *root, struct arena *a, struct xml_node **ret)
{
	struct err e = ERR_INIT;
	int rc = xml_parse(body, root, &limits, a, ret, &e);

	assert_int_equal(e.code, rc);
	return rc;
}

static int
result(const char *body, const char *root)
{
	struct arena *a = arena_new(8u << 20);
	struct xml_node *n = NULL;
	int rc = parse(str_of(body), root, a, &n);

	if (rc == 0)
		assert_non_null(n);
	arena_free(&a);
	return rc;
}

static struct str
text_in(const struct xml_node *n, const char *child)
{
	n = xml_child(n, child);
	return n != NULL ? n->text : STR_NULL;
}

static void
test_delete(void **state)
{
	static const char body[] =
	    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
	    "<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\n"
	    "  <!-- two -->\n"
	    "  <Object><Key>a &amp; &#x62;&lt;<![CDATA[<&>]]></Key></Object>\n"
	    "  <Object><Key> x<!-- c --> y\n</Key>"
	    "<VersionId>null</VersionId></Object>\n"
	    "  <Quiet> true\n</Quiet><?pi?><Empty/>\n"
	    "</Delete>\n";
	struct arena *a = arena_new(1u << 20);
	struct xml_node *root;
	const struct xml_node *o, *q;
	struct err e;

	(void)state;
	assert_int_equal(parse(str_of(body), "Delete", a, &root), 0);
	assert_int_equal(xml_count(root, "Object"), 2);
	o = xml_child(root, "Object");
	assert_true(str_eqz(text_in(o, "Key"), "a & b<<&>"));
	assert_null(text_in(o, "VersionId").p);
	o = o->next;
	assert_true(str_eqz(text_in(o, "Key"), " x y\n"));
	assert_true(str_eqz(text_in(o, "VersionId"), "null"));
	assert_true(xml_is(o->next, "Quiet"));
	assert_int_equal(xml_child_once(root, "Quiet", &q, &e), 0);
	assert_true(str_eqz(q->text, " true\n"));
	assert_int_equal(xml_child_once(root, "Nothing", &q, &e), 0);
	assert_null(q);
	assert_int_equal(xml_child_once(root, "Object", &q, &e),
	    ERR_MALFORMED_XML);
	assert_true(str_eqz(text_in(root, "Empty"), ""));
	assert_non_null(text_in(root, "Empty").p);
	assert_true(str_eqz(root->text, ""));
	arena_free(&a);
}

#define NS "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\""

static void
test_table(void **state)
{
	static const struct {
		const char *body;
		int rc;
	} cases[] = {
		{ "<a/>", 0 },
		{ "<a " NS "/>", 0 },
		{ "<a xmlns='http://s3.amazonaws.com/doc/2006-03-01'/>", 0 },
		{ "<x:a xmlns:x='http://s3.amazonaws.com/doc/2006-03-01/'>"
		  "<x:b/></x:a>",
		    0 },
		{ "<a><g xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance' "
		  "xsi:type='CanonicalUser'/></a>",
		    0 },
		{ "\xef\xbb\xbf<a/>", 0 },
		{ "<?xml version='1.0' encoding='utf-8'?><a/>", 0 },
		{ "<?xml version='1.0'?><a>\xc3\xa4</a>", 0 },
		{ "<a b='>'/>", 0 },
		/* namespace and root */
		{ "<b/>", ERR_MALFORMED_XML },
		{ "<a xmlns='urn:other'/>", ERR_MALFORMED_XML },
		{ "<a><b xmlns='urn:other'/></a>", ERR_MALFORMED_XML },
		{ "<x:a/>", ERR_MALFORMED_XML },
		/* not well-formed */
		{ "", ERR_MALFORMED_XML },
		{ " ", ERR_MALFORMED_XML },
		{ "x", ERR_MALFORMED_XML },
		{ "<", ERR_MALFORMED_XML },
		{ "<a", ERR_MALFORMED_XML },
		{ "<a>", ERR_MALFORMED_XML },
		{ "<a><b></a>", ERR_MALFORMED_XML },
		{ "<a></b>", ERR_MALFORMED_XML },
		{ "<a/><a/>", ERR_MALFORMED_XML },
		{ "<a/>x", ERR_MALFORMED_XML },
		{ "x<a/>", ERR_MALFORMED_XML },
		{ "<a b=c/>", ERR_MALFORMED_XML },
		{ "<a b='1' b='2'/>", ERR_MALFORMED_XML },
		{ "<a>&</a>", ERR_MALFORMED_XML },
		{ "<a>&nope;</a>", ERR_MALFORMED_XML },
		{ "<a>&#0;</a>", ERR_MALFORMED_XML },
		{ "<a>&#x1;</a>", ERR_MALFORMED_XML },
		{ "<a>\x01</a>", ERR_MALFORMED_XML },
		{ "<a><!-- </a>", ERR_MALFORMED_XML },
		{ "<a><![CDATA[ </a>", ERR_MALFORMED_XML },
		{ "<a>]]></a>", ERR_MALFORMED_XML },
		{ "<a>text<b/></a>", ERR_MALFORMED_XML },
		{ "<a><b/>text</a>", ERR_MALFORMED_XML },
		{ "{\"a\":1}", ERR_MALFORMED_XML },
		/* encodings */
		{ "<?xml version='1.0' encoding='UTF-16'?><a/>",
		    ERR_MALFORMED_XML },
		{ "<?xml version='1.0' encoding='ISO-8859-1'?><a/>",
		    ERR_MALFORMED_XML },
		{ "<?xml version='1.0' encoding='UTF-7'?><a/>",
		    ERR_MALFORMED_XML },
		{ "<a>\xe4</a>", ERR_MALFORMED_XML },
		/* document types */
		{ "<!DOCTYPE a><a/>", ERR_MALFORMED_XML },
		{ "<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>",
		    ERR_MALFORMED_XML },
		{ "<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>"
		  "<a>&x;</a>",
		    ERR_MALFORMED_XML },
		{ "<?xml version='1.0'?><!DOCTYPE lolz [<!ENTITY l 'l'>"
		  "<!ENTITY m '&l;&l;&l;&l;&l;&l;&l;&l;&l;&l;'>"
		  "<!ENTITY n '&m;&m;&m;&m;&m;&m;&m;&m;&m;&m;'>]><a>&n;</a>",
		    ERR_MALFORMED_XML },
		{ "<a><!ELEMENT a></a>", ERR_MALFORMED_XML },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		int rc = result(cases[i].body, "a");

		if (rc == cases[i].rc)
			continue;
		print_message("case %zu: %s -> %s\n", i, cases[i].body,
		    err_name(rc));
		fail();
	}
}

static void
test_utf16(void **state)
{
	static const char le[] = "\xff\xfe<\0a\0/\0>";
	static const char be[] = "\0<\0a\0/\0>";
	struct arena *a = arena_new(1u << 20);
	struct xml_node *n;

	(void)state;
	assert_int_equal(parse(str_mem(le, sizeof(le)), NULL, a, &n),
	    ERR_MALFORMED_XML);
	assert_int_equal(parse(str_mem(be, sizeof(be) - 1), NULL, a, &n),
	    ERR_MALFORMED_XML);
	arena_free(&a);
}

static void
repeat(struct buf *b, const char *z, size_t n)
{
	for (size_t i = 0; i < n; i++)
		assert_int_equal(buf_addz(b, z), 0);
}

/* Each is refused, quickly: the test as a whole takes well under a second. */
static void
test_limits(void **state)
{
	struct buf b = BUF_CAP(32u << 20);
	struct arena *a = arena_new(8u << 20);
	struct xml_node *n;

	(void)state;
	repeat(&b, "<a>", 32);
	repeat(&b, "</a>", 32);
	assert_int_equal(parse(buf_str(&b), NULL, a, &n), 0);
	buf_reset(&b);
	repeat(&b, "<a>", 33);
	repeat(&b, "</a>", 33);
	assert_int_equal(parse(buf_str(&b), NULL, a, &n), ERR_MALFORMED_XML);
	buf_reset(&b);
	repeat(&b, "<a>", 100000);
	repeat(&b, "</a>", 100000);
	assert_int_equal(parse(buf_str(&b), NULL, a, &n), ERR_MALFORMED_XML);
	/* elements */
	buf_reset(&b);
	repeat(&b, "<a>", 1);
	repeat(&b, "<b/>", 9999);
	repeat(&b, "</a>", 1);
	assert_int_equal(parse(buf_str(&b), NULL, a, &n), 0);
	assert_int_equal(xml_count(n, "b"), 9999);
	buf_reset(&b);
	repeat(&b, "<a>", 1);
	repeat(&b, "<b/>", 10000);
	repeat(&b, "</a>", 1);
	assert_int_equal(parse(buf_str(&b), NULL, a, &n), ERR_MALFORMED_XML);
	/* bytes */
	buf_reset(&b);
	repeat(&b, "<a>", 1);
	repeat(&b, "0123456789abcdef", (4u << 20) / 16);
	repeat(&b, "</a>", 1);
	assert_int_equal(parse(buf_str(&b), NULL, a, &n),
	    ERR_MAX_MESSAGE_LENGTH);
	/* attributes: pairwise comparison would take minutes */
	buf_reset(&b);
	repeat(&b, "<a", 1);
	for (int i = 0; i < 200000; i++)
		assert_int_equal(buf_addf(&b, " a%d=\"\"", i), 0);
	repeat(&b, "/>", 1);
	assert_int_equal(parse(buf_str(&b), NULL, a, &n), ERR_MALFORMED_XML);
	/* a long text, and references all over */
	buf_reset(&b);
	repeat(&b, "<a>", 1);
	repeat(&b, "&#65;", 400000);
	repeat(&b, "</a>", 1);
	assert_int_equal(parse(buf_str(&b), NULL, a, &n), 0);
	assert_int_equal(n->text.len, 400000);
	/* the arena's cap is an error, not a crash */
	arena_free(&a);
	a = arena_new(1000);
	assert_int_equal(parse(buf_str(&b), NULL, a, &n), ERR_NO_MEMORY);
	arena_free(&a);
	buf_fini(&b);
}

static void
test_writer(void **state)
{
	struct buf b = BUF_CAP(1u << 20);
	struct xml_writer w;
	struct err e;

	(void)state;
	xml_begin(&w, &b, "R", XML_NS_S3);
	xml_text(&w, "K", STR_LIT("a&<>\"'\t\n\r\x01\x1f\x7f\xc3\xa4\xef"));
	xml_text(&w, "K", str_mem("x\0y", 3));
	xml_text(&w, "K", STR_LIT("\xc3\xa4"));
	xml_text_url(&w, "U", STR_LIT("a b/+%\xc3\xa4"));
	xml_open(&w, "O");
	xml_uint(&w, "N", 0);
	xml_uint(&w, "N", UINT64_MAX);
	xml_truth(&w, "B", false);
	xml_time(&w, "T", 1369353600123456789);
	xml_close(&w, "O");
	xml_textz(&w, "E", "");
	assert_int_equal(xml_end(&w, "R", &e), 0);
	assert_int_equal(buf_addc(&b, '\0'), 0);
	assert_string_equal(b.p,
	    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
	    "<R xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
	    "<K>a&amp;&lt;&gt;&quot;'\t\n&#xD;&#x1;&#x1F;\x7f"
	    "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd</K>"
	    "<K>x\xef\xbf\xbdy</K><K>\xc3\xa4</K>"
	    "<U>a%20b/%2B%25%C3%A4</U>"
	    "<O><N>0</N><N>18446744073709551615</N><B>false</B>"
	    "<T>2013-05-24T00:00:00.123Z</T></O><E></E></R>");
	buf_fini(&b);
	/* the cap: the first failure sticks */
	b = (struct buf)BUF_CAP(100);
	xml_begin(&w, &b, "R", XML_NS_S3);
	xml_text(&w, "K", STR_LIT("0123456789"));
	assert_int_equal(xml_end(&w, "R", &e), ERR_TOO_BIG);
	assert_int_equal(e.code, ERR_TOO_BIG);
	buf_fini(&b);
}

/* What is written is read back. */
static void
test_round_trip(void **state)
{
	struct arena *a = arena_new(1u << 20);
	struct buf b = BUF_CAP(1u << 20);
	struct xml_writer w;
	struct xml_node *n;
	char text[127];
	struct err e;

	(void)state;
	for (int i = 0; i < 127 - 32; i++)
		text[i] = (char)(i + 32);
	memcpy(text + 95, "\t\n\r\xc3\xa4\xf0\x9f\x98\x80", 9);
	xml_begin(&w, &b, "R", NULL);
	for (int i = 0; i < 3; i++)
		xml_text(&w, "K", str_mem(text, 104));
	assert_int_equal(xml_end(&w, "R", &e), 0);
	assert_int_equal(parse(buf_str(&b), "R", a, &n), 0);
	assert_true(str_eq(text_in(n, "K"), str_mem(text, 104)));
	assert_int_equal(xml_count(n, "K"), 3);
	buf_fini(&b);
	arena_free(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_delete),
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_utf16),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_writer),
		cmocka_unit_test(test_round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
