/* Request bodies in XML. What is read and written again is read the same.
 * LINK: creel_xml */
#include "gateway/xml/xml.h"

static void
walk(struct xml_writer *w, const struct xml_node *n)
{
	MUST(n->first == NULL || n->text.len == 0);
	MUST(n->name.len > 0 && n->text.p != NULL);
	if (n->first == NULL) {
		xml_text(w, "t", n->text);
		return;
	}
	xml_open(w, "e");
	for (n = n->first; n != NULL; n = n->next)
		walk(w, n);
	xml_close(w, "e");
}

static bool
same(const struct xml_node *a, const struct xml_node *b)
{
	if (!str_eq(a->text, b->text))
		return false;
	for (a = a->first, b = b->first; a != NULL && b != NULL;
	     a = a->next, b = b->next) {
		if (!same(a, b))
			return false;
	}
	return a == NULL && b == NULL;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct xml_limits l = { 1u << 20, 30, 1000 };
	static const struct xml_limits more = { 1u << 24, 32, 2000 };
	struct arena *a = arena_new(4u << 20);
	struct buf b = BUF_CAP(1u << 24);
	struct xml_node *n, *again;
	struct xml_writer w;
	struct err e;

	MUST(a != NULL);
	if (xml_parse(str_mem(data, size), NULL, &l, a, &n, &e) == 0) {
		xml_begin(&w, &b, "R", XML_NS_S3);
		walk(&w, n);
		MUST(xml_end(&w, "R", &e) == 0);
		MUST(xml_parse(buf_str(&b), "R", &more, a, &again, &e) == 0);
		MUST(same(n, again->first));
	}
	buf_fini(&b);
	arena_free(&a);
	return 0;
}
