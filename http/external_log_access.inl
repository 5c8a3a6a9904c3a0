/* Included by civetweb: access lines are written by access_log.c. */
static void
log_access(const struct mg_connection *conn)
{
	(void)conn;
}
