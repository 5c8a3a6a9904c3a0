/* gateway/xml/read.c - request bodies (xml.h), over libxml2's SAX2 interface. */
#include "gateway/xml/xml.h"

#include <libxml/parser.h>
#include <libxml/parserInternals.h>
#include <pthread.h>

/* AWS takes its old name too. */
static const char *const namespaces[] = { XML_NS_S3,
	"http://s3.amazonaws.com/doc/2006-03-01",
	"http://doc.s3.amazonaws.com/2006-03-01" };

struct open_node {
	struct xml_node *node, *last;
};

struct parse {
	xmlParserCtxtPtr ctxt;
	struct arena *arena;
	const struct xml_limits *limits;
	struct open_node stack[XML_MAX_DEPTH];
	unsigned depth, max_depth, nodes;
	struct xml_node *root;
	struct buf text; /* of the innermost element so far */
	int rc;
	struct err *e;
};

static void
stop(struct parse *p, int rc, const char *why)
{
	if (p->rc == 0)
		p->rc = err_set(p->e, rc, "%s", why);
	xmlStopParser(p->ctxt);
}

static void
malformed(struct parse *p, const char *why)
{
	char msg[128];

	snprintf(msg, sizeof(msg), "%s (%s)", err_text(ERR_MALFORMED_XML), why);
	stop(p, ERR_MALFORMED_XML, msg);
}

/* --- before libxml2 --- */

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool
is_all_blank(struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (!is_blank(s.p[i]))
			return false;
	}
	return true;
}

/* "<?xml version="1.0" encoding="..."?>": nothing but UTF-8 and its subset. */
static bool
encoding_is_ok(struct str body)
{
	ptrdiff_t end, at;
	struct str decl, v;

	if (!str_has_prefix(body, STR_LIT("<?xml")))
		return true;
	end = str_find(body, STR_LIT("?>"));
	if (end < 0)
		return false;
	decl = str_sub(body, 0, (size_t)end);
	at = str_find(decl, STR_LIT("encoding"));
	if (at < 0)
		return true;
	v = str_skip(decl, (size_t)at + 8);
	while (v.len > 0 && (is_blank(*v.p) || *v.p == '='))
		v = str_skip(v, 1);
	if (v.len < 2 || (*v.p != '"' && *v.p != '\''))
		return false;
	at = str_chr(str_skip(v, 1), *v.p);
	if (at < 0)
		return false;
	v = str_sub(v, 1, (size_t)at);
	return str_ieq(v, STR_LIT("UTF-8")) || str_ieq(v, STR_LIT("UTF8")) ||
	       str_ieq(v, STR_LIT("US-ASCII"));
}

/* Length of the markup that starts at @s ('<'), 0 when it is not allowed: a
 * document type, a tag that is too long (X2), one without an end. */
static size_t
markup_length(struct str s)
{
	static const char *const pairs[][2] = { { "<!--", "-->" },
		{ "<![CDATA[", "]]>" }, { "<?", "?>" } };
	char quote = '\0';

	for (size_t i = 0; i < 3; i++) {
		struct str begin = str_of(pairs[i][0]);
		ptrdiff_t at;

		if (!str_has_prefix(s, begin))
			continue;
		at = str_find(str_skip(s, begin.len), str_of(pairs[i][1]));
		return at < 0 ? 0
		              : begin.len + (size_t)at + strlen(pairs[i][1]);
	}
	if (s.len > 1 && s.p[1] == '!')
		return 0;
	for (size_t i = 1; i < s.len && i < XML_MAX_TAG; i++) {
		if (quote != '\0') {
			if (s.p[i] == quote)
				quote = '\0';
		} else if (s.p[i] == '"' || s.p[i] == '\'') {
			quote = s.p[i];
		} else if (s.p[i] == '>') {
			return i + 1;
		}
	}
	return 0;
}

static const char *
check_bytes(struct str body)
{
	if (!utf8_is_valid(body) || str_chr(body, '\0') >= 0)
		return "not UTF-8";
	if (!encoding_is_ok(body))
		return "the encoding must be UTF-8";
	while (body.len > 0) {
		ptrdiff_t at = str_chr(body, '<');
		size_t n;

		if (at < 0)
			break;
		body = str_skip(body, (size_t)at);
		n = markup_length(body);
		if (n == 0)
			return "a document type, or a tag that is too long or "
			       "has no end";
		body = str_skip(body, n);
	}
	return NULL;
}

/* --- libxml2's calls --- */

static bool
is_s3_namespace(const xmlChar *uri)
{
	const void *p = uri;

	if (uri == NULL)
		return true;
	for (size_t i = 0; i < sizeof(namespaces) / sizeof(*namespaces); i++) {
		if (strcmp(p, namespaces[i]) == 0)
			return true;
	}
	return false;
}

static void
on_start(void *arg, const xmlChar *name, const xmlChar *prefix,
    const xmlChar *uri, int n_ns, const xmlChar **ns, int n_attr, int n_default,
    const xmlChar **attr)
{
	struct parse *p = arg;
	struct open_node *parent;
	struct xml_node *n;
	const void *z = name;

	(void)prefix, (void)n_ns, (void)ns, (void)n_attr, (void)n_default,
	    (void)attr;
	if (p->rc < 0)
		return;
	if (p->depth == p->max_depth) {
		malformed(p, "nested too deep");
		return;
	}
	if (p->nodes++ == p->limits->max_nodes) {
		malformed(p, "too many elements");
		return;
	}
	if (!is_s3_namespace(uri)) {
		malformed(p, "wrong namespace");
		return;
	}
	if (!is_all_blank(buf_str(&p->text))) {
		malformed(p, "text between elements");
		return;
	}
	buf_reset(&p->text);
	n = arena_zalloc(p->arena, sizeof(*n));
	if (n != NULL)
		n->name = arena_str(p->arena, str_of(z));
	if (n == NULL || n->name.p == NULL) {
		stop(p, ERR_NO_MEMORY, err_text(ERR_NO_MEMORY));
		return;
	}
	n->text = STR_LIT("");
	if (p->depth == 0) {
		p->root = n;
	} else {
		parent = &p->stack[p->depth - 1];
		if (parent->last == NULL)
			parent->node->first = n;
		else
			parent->last->next = n;
		parent->last = n;
	}
	p->stack[p->depth++] = (struct open_node){ n, NULL };
}

static void
on_end(void *arg, const xmlChar *name, const xmlChar *prefix,
    const xmlChar *uri)
{
	struct parse *p = arg;
	struct xml_node *n;

	(void)name, (void)prefix, (void)uri;
	if (p->rc < 0)
		return;
	MUST(p->depth > 0);
	n = p->stack[--p->depth].node;
	if (n->first != NULL) {
		if (!is_all_blank(buf_str(&p->text)))
			malformed(p, "text between elements");
	} else if (p->text.len > 0) {
		n->text = arena_str(p->arena, buf_str(&p->text));
		if (n->text.p == NULL)
			stop(p, ERR_NO_MEMORY, err_text(ERR_NO_MEMORY));
	}
	buf_reset(&p->text);
}

static void
on_text(void *arg, const xmlChar *text, int len)
{
	struct parse *p = arg;

	if (p->rc == 0 && len > 0 && buf_add(&p->text, text, (size_t)len) < 0)
		stop(p, ERR_NO_MEMORY, err_text(ERR_NO_MEMORY));
}

/* Never reached, since check_bytes() refuses document types; and if it were,
 * nothing would be declared. */
static void
on_document_type(void *arg, const xmlChar *name, const xmlChar *public_id,
    const xmlChar *system_id)
{
	(void)name, (void)public_id, (void)system_id;
	malformed(arg, "document types are not allowed");
}

static void
on_error(void *arg, xmlErrorPtr error)
{
	struct parse *p = arg;

	if (p->rc < 0 || error->level < XML_ERR_ERROR)
		return;
	if (error->code == XML_ERR_NO_MEMORY)
		stop(p, ERR_NO_MEMORY, err_text(ERR_NO_MEMORY));
	else
		stop(p, ERR_MALFORMED_XML, err_text(ERR_MALFORMED_XML));
}

static void
start_library(void)
{
	xmlInitParser();
}

static int
feed(struct parse *p, struct str body)
{
	xmlSAXHandler sax = { .initialized = XML_SAX2_MAGIC,
		.startElementNs = on_start,
		.endElementNs = on_end,
		.characters = on_text,
		.ignorableWhitespace = on_text,
		.cdataBlock = on_text,
		.internalSubset = on_document_type,
		.externalSubset = on_document_type,
		.serror = on_error };

	if (body.len == 0) /* libxml2 takes it for a failed allocation */
		return err_set(p->e, ERR_MALFORMED_XML, NULL);
	p->ctxt = xmlCreateMemoryParserCtxt(body.p, (int)body.len);
	if (p->ctxt == NULL)
		return err_set(p->e, ERR_NO_MEMORY, NULL);
	xmlCtxtUseOptions(p->ctxt, XML_PARSE_NONET);
	*p->ctxt->sax = sax;
	p->ctxt->userData = p;
	xmlParseDocument(p->ctxt);
	if (p->rc == 0 &&
	    (!p->ctxt->wellFormed || p->root == NULL || p->depth > 0))
		stop(p, ERR_MALFORMED_XML, err_text(ERR_MALFORMED_XML));
	xmlFreeDoc(p->ctxt->myDoc);
	xmlFreeParserCtxt(p->ctxt);
	return p->rc;
}

int
xml_parse(struct str body, const char *root, const struct xml_limits *l,
    struct arena *a, struct xml_node **ret, struct err *e)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct parse p = { .arena = a, .limits = l, .e = e };
	const char *why;
	int rc;

	if (body.len > l->max_bytes || body.len > INT32_MAX)
		return err_set(e, ERR_MAX_MESSAGE_LENGTH, NULL);
	if (str_has_prefix(body, STR_LIT("\xef\xbb\xbf")))
		body = str_skip(body, 3); /* byte order mark */
	why = check_bytes(body);
	if (why != NULL)
		return err_set(e, ERR_MALFORMED_XML, "%s (%s)",
		    err_text(ERR_MALFORMED_XML), why);
	p.max_depth = l->max_depth == 0 || l->max_depth > XML_MAX_DEPTH
	                  ? XML_MAX_DEPTH
	                  : l->max_depth;
	p.text = BUF_CAP(body.len + 1);
	pthread_once(&once, start_library);
	rc = feed(&p, body);
	buf_fini(&p.text);
	if (rc == 0 && root != NULL && !xml_is(p.root, root))
		rc = err_set(e, ERR_MALFORMED_XML, NULL);
	if (rc == 0)
		*ret = p.root;
	return rc;
}

/* --- the tree --- */

const struct xml_node *
xml_child(const struct xml_node *n, const char *name)
{
	for (n = n->first; n != NULL; n = n->next) {
		if (xml_is(n, name))
			return n;
	}
	return NULL;
}

/* The next one of the same name after @n, or NULL. */
static const struct xml_node *
same(const struct xml_node *n)
{
	struct str name = n->name;

	for (n = n->next; n != NULL; n = n->next) {
		if (str_eq(n->name, name))
			return n;
	}
	return NULL;
}

size_t
xml_count(const struct xml_node *n, const char *name)
{
	size_t count = 0;

	for (n = n->first; n != NULL; n = n->next)
		count += xml_is(n, name);
	return count;
}

int
xml_child_once(const struct xml_node *n, const char *name,
    const struct xml_node **ret, struct err *e)
{
	const struct xml_node *c = xml_child(n, name);

	if (c != NULL && same(c) != NULL)
		return err_set(e, ERR_MALFORMED_XML, "%s (%s is repeated)",
		    err_text(ERR_MALFORMED_XML), name);
	*ret = c;
	return 0;
}
