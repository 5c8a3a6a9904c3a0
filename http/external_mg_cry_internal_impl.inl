/* Included by civetweb: its messages go to the log_message callback, which
 * keeps the first one while the server starts (server.c). */
static void
mg_cry_internal_impl(const struct mg_connection *conn, const char *func,
    unsigned line, const char *fmt, va_list ap)
{
	char text[256];

	(void)func;
	(void)line;
	if (conn == NULL || conn->phys_ctx == NULL ||
	    conn->phys_ctx->callbacks.log_message == NULL)
		return;
	vsnprintf(text, sizeof(text), fmt, ap);
	conn->phys_ctx->callbacks.log_message(conn, text);
}
