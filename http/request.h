/* http/request.h - one request of a connection, on its worker. */
#ifndef HTTP_REQUEST_H
#define HTTP_REQUEST_H

#include "http/internal.h"

/* One per worker thread, and one for each deferred request. */
struct http_req *http_req_new(struct http_server *s);
void http_req_free(struct http_req **rp);
/* Its connection has closed: gives memory back. */
void http_req_idle(struct http_req *r);

/* A parsed header block: guard, limits, handler, access line. What the worker
 * has from here on: @r, or another one when that was deferred. */
struct http_req *http_req_serve(struct http_req *r, struct mg_connection *conn,
    struct slot *slot);
/* All that follows the answer. */
void http_req_finish(struct http_req *r);
/* A request that never gets to the handler. */
void http_req_refuse(struct http_req *r, struct mg_connection *conn,
    struct slot *slot, const struct err *why);

#endif
