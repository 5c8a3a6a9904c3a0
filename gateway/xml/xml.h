/* gateway/xml/xml.h - XML bodies in, XML answers out.
 *
 * The only user of libxml2. Reading is bounded in bytes, depth and elements,
 * takes UTF-8 only and refuses document types before the parser sees them, so
 * there are no entities to expand and nothing to fetch. Writing is our own.
 *
 * X1  What xml_parse() gives lives in the caller's arena and nowhere else.
 * X2  Work is linear in the body: libxml2 2.9 compares the attributes of a tag
 *     pairwise, so tags are at most XML_MAX_TAG bytes long.
 * Threads: any; a tree or a writer belongs to one at a time. */
#ifndef GATEWAY_XML_XML_H
#define GATEWAY_XML_XML_H

#include "lib/arena.h"
#include "lib/err.h"
#include "lib/str.h"

#include <stdint.h>

#define XML_NS_S3 "http://s3.amazonaws.com/doc/2006-03-01/"

/* --- reading --- */

struct xml_limits {
	size_t max_bytes;   /* of the body */
	unsigned max_depth; /* 0: 32 */
	unsigned max_nodes; /* elements */
};
#define XML_MAX_DEPTH 32
#define XML_MAX_TAG 4096

/* An element. Attributes are not kept. An element has text or children, never
 * both (blanks between children are dropped, inside a text they are kept). */
struct xml_node {
	struct str name; /* local name */
	struct str text; /* "" when empty or with children; terminated */
	struct xml_node *first, *next;
};

/* The tree of @body. @root: its name, or NULL for any. Elements are in S3's
 * namespace or in none. ERR_MALFORMED_XML, ERR_MAX_MESSAGE_LENGTH beyond
 * max_bytes, ERR_NO_MEMORY. */
int xml_parse(struct str body, const char *root, const struct xml_limits *l,
    struct arena *a, struct xml_node **ret, struct err *e);

static inline bool
xml_is(const struct xml_node *n, const char *name)
{
	return str_eqz(n->name, name);
}
/* First child of that name, or NULL. */
const struct xml_node *xml_child(const struct xml_node *n, const char *name);
size_t xml_count(const struct xml_node *n, const char *name);
/* The one child of that name: *ret NULL when there is none, ERR_MALFORMED_XML
 * when there are several. */
int xml_child_once(const struct xml_node *n, const char *name,
    const struct xml_node **ret, struct err *e);

/* --- writing --- */

/* Appends text. & < > " become names, CR and the other control characters but
 * TAB and LF become &#xN; as AWS writes them (XML 1.0 parsers refuse most of
 * those: that is what encoding-type=url is for), bytes that are not UTF-8
 * become U+FFFD. 0, ERR_TOO_BIG or ERR_NO_MEMORY. */
int xml_escape(struct buf *b, struct str s);

/* Elements. The first failure sticks: later calls do nothing and xml_end()
 * gives it. Names are not escaped. */
struct xml_writer {
	struct buf *b;
	int rc;
};
/* The declaration and the open root element; @ns may be NULL. */
void xml_begin(struct xml_writer *w, struct buf *b, const char *root,
    const char *ns);
void xml_open(struct xml_writer *w, const char *name);
void xml_close(struct xml_writer *w, const char *name);
void xml_text(struct xml_writer *w, const char *name, struct str v);
void xml_textz(struct xml_writer *w, const char *name, const char *v);
/* Percent-encoded, for encoding-type=url; slashes stay. */
void xml_text_url(struct xml_writer *w, const char *name, struct str v);
void xml_uint(struct xml_writer *w, const char *name, uint64_t v);
void xml_truth(struct xml_writer *w, const char *name, bool v);
void xml_time(struct xml_writer *w, const char *name, int64_t unix_ns);
/* Closes the root. */
int xml_end(struct xml_writer *w, const char *root, struct err *e);

#endif
