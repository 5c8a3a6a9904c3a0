/* storage/replication/install.c - versions into the store here.
 *
 * What is small between members (REP_SMALL) may be a large file to the store
 * (small_file_limit): such a one is written as a stream of one piece. */
#include "storage/replication/rep_int.h"

/* What is there under the name instead of @in's version. */
static void
look(struct rep *r, struct engine_install *in)
{
	struct str id = str_of(in->r->info.id);
	struct engine_version v = { 0 };
	struct err e;

	if (r->so->lookup_many(r->st, &id, 1, &v, &e) < 0)
		return;
	in->version = v.version;
	in->is_tomb = v.known == ENGINE_TOMB;
}

static int
install_stream(struct rep *r, struct engine_install *in, struct err *e)
{
	const struct engine_file_info *f = &in->r->info;
	struct engine_owner o = { .class = f->class,
		.index_id = f->index_id,
		.write_id = f->write_id,
		.note = in->r->note };
	void *up;
	int rc = r->so->upload_begin(r->st, &o, rep_path_of(f->id),
	    in->body.len, &up, e);

	if (rc < 0)
		return rc;
	rc = r->so->upload_write(up, in->body.p, in->body.len, e);
	if (rc < 0) {
		r->so->upload_abort(up);
		return rc;
	}
	rc = r->so->upload_install(up, in->r, in->flags, &in->version, e);
	if (rc == 1 || rc == ERR_EXISTS)
		look(r, in);
	return rc;
}

/* What can't be here at all, or is taken, must not hide a disk that failed:
 * that one is to be tried again. */
static int
weight(int rc)
{
	if (rc >= 0)
		return 0;
	return rc == ERR_EXISTS ? 1 : rc == ERR_INVALID ? 2 : 3;
}

int
rep_install(struct rep *r, struct engine_install *v, size_t n, struct err *e)
{
	struct err why = ERR_INIT, se = ERR_INIT;
	int worst = 0, rc = r->so->install_many(r->st, v, n, &why);
	size_t i;

	if (rc == ERR_CLOSED)
		return err_set(e, rc, "%s", why.msg);
	if (rc == 0)
		return 0;
	for (i = 0; i < n; i++) {
		if (v[i].rc == ERR_TOO_BIG) {
			v[i].rc = install_stream(r, &v[i], &se);
			if (v[i].rc < 0)
				why = se;
		}
		if (weight(v[i].rc) > weight(worst))
			worst = v[i].rc;
	}
	return worst < 0 ? err_set(e, worst, "%s",
			       why.code == worst ? why.msg : err_text(worst))
	                 : 0;
}
