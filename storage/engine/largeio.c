/* storage/engine/largeio.c - threads that write large files while the uploader
 * receives and hashes the next bytes, and the buffers in between.
 *
 * What comes while a thread writes for a job is its next turn's, all in one call:
 * threads sleep and are woken less often the busier they are.
 *
 * B1  Buffers are lent: at most MAX_BUFS per path. Who gets none writes itself.
 * Threads: two per path; the rest any. */
#include "storage/engine/engine_int.h"

#include "lib/mem.h"
#include "lib/thread.h"

enum {
	IO_THREADS = 2,
	MAX_BUFS = 64,
	KEPT_BUFS = 4
};

struct large_io {
	struct lock lock; /* LEAF */
	struct cond more, done;
	struct io_job *head, **tail;
	unsigned n_waiting;
	bool stop;
	pthread_t threads[IO_THREADS];
	unsigned n_threads;
	void *bufs[KEPT_BUFS]; /* idle ones */
	unsigned n_idle, n_lent;
};

static void
enqueue(struct large_io *io, struct io_job *j)
{
	j->is_queued = true;
	j->next = NULL;
	*io->tail = j;
	io->tail = &j->next;
}

/* All that @j has by now. Locked; not while it is written. */
static void
take_turn(struct large_io *io, struct io_job *j)
{
	struct iovec v[ENGINE_LENT];
	struct err why = ERR_INIT;
	unsigned n = j->n;
	int rc = j->rc;

	memcpy(v, j->v, n * sizeof(*v));
	lock_drop(&io->lock);
	if (rc == 0)
		rc = j->fn(j, v, (int)n, &why);
	lock_take(&io->lock);
	if (j->rc == 0 && rc < 0) {
		j->rc = rc;
		j->why = why;
	}
	j->n -= n;
	memmove(j->v, j->v + n, j->n * sizeof(*v));
	if (j->n > 0)
		enqueue(io, j); /* behind the others */
	else
		j->is_queued = false;
	if (io->n_waiting > 0)
		cond_broadcast(&io->done);
}

static void *
io_main(void *arg)
{
	struct large_io *io = arg;

	lock_take(&io->lock);
	for (;;) {
		struct io_job *j;

		while (io->head == NULL && !io->stop)
			cond_wait(&io->more, &io->lock);
		j = io->head;
		if (j == NULL)
			break;
		io->head = j->next;
		if (io->head == NULL)
			io->tail = &io->head;
		take_turn(io, j);
	}
	lock_drop(&io->lock);
	return NULL;
}

int
large_io_start(struct path *p, struct err *e)
{
	struct large_io *io = mem_zalloc(sizeof(*io));

	if (io == NULL)
		return err_set(e, ERR_NO_MEMORY, NULL);
	p->io = io;
	lock_init(&io->lock, LOCK_RANK_LEAF);
	cond_init(&io->more);
	cond_init(&io->done);
	io->tail = &io->head;
	for (; io->n_threads < IO_THREADS; io->n_threads++) {
		int rc = thread_start(&io->threads[io->n_threads],
		    "store-large", io_main, io, e);

		if (rc < 0)
			return rc;
	}
	return 0;
}

void
large_io_stop(struct path *p)
{
	struct large_io *io = p->io;

	if (io == NULL)
		return;
	p->io = NULL;
	lock_take(&io->lock);
	MUST(io->head == NULL && io->n_lent == 0);
	io->stop = true;
	cond_broadcast(&io->more);
	lock_drop(&io->lock);
	for (unsigned i = 0; i < io->n_threads; i++)
		thread_join(io->threads[i]);
	for (unsigned i = 0; i < io->n_idle; i++)
		free(io->bufs[i]);
	lock_fini(&io->lock);
	cond_fini(&io->more);
	cond_fini(&io->done);
	free(io);
}

static void
begin(struct large_io *io, struct io_job *j)
{
	if (j->is_queued || j->n == 0)
		return;
	enqueue(io, j);
	cond_signal(&io->more);
}

static void
wait_left(struct large_io *io, struct io_job *j, unsigned left)
{
	if (j->n <= left)
		return;
	begin(io, j);
	io->n_waiting++;
	while (j->n > left)
		cond_wait(&io->done, &io->lock);
	io->n_waiting--;
}

void
large_io_submit(struct path *p, struct io_job *j, struct str data,
    unsigned together)
{
	struct large_io *io = p->io;

	lock_take(&io->lock);
	wait_left(io, j, ENGINE_LENT - 1);
	j->v[j->n++] = (struct iovec){ (void *)(uintptr_t)data.p, data.len };
	if (j->n >= together)
		begin(io, j);
	lock_drop(&io->lock);
}

int
large_io_wait(struct path *p, struct io_job *j, unsigned left, struct err *e)
{
	struct large_io *io = p->io;
	int rc;

	lock_take(&io->lock);
	wait_left(io, j, left);
	rc = j->rc;
	if (rc < 0 && e != NULL)
		*e = j->why;
	lock_drop(&io->lock);
	return rc;
}

void *
large_io_buf_get(struct path *p)
{
	struct large_io *io = p->io;
	void *b = NULL;

	lock_take(&io->lock);
	if (io->n_lent < MAX_BUFS) {
		io->n_lent++;
		if (io->n_idle > 0)
			b = io->bufs[--io->n_idle];
		else
			b = mem_alloc_aligned(ENGINE_LEND_ALIGN, LARGE_IO_BUF);
		if (b == NULL)
			io->n_lent--;
	}
	lock_drop(&io->lock);
	return b;
}

void
large_io_buf_put(struct path *p, void *b)
{
	struct large_io *io = p->io;

	if (b == NULL)
		return;
	lock_take(&io->lock);
	io->n_lent--;
	if (io->n_idle < KEPT_BUFS) {
		io->bufs[io->n_idle++] = b;
		b = NULL;
	}
	lock_drop(&io->lock);
	free(b);
}

void
large_io_trim(struct path *p)
{
	struct large_io *io = p->io;

	lock_take(&io->lock);
	while (io->n_idle > 0)
		free(io->bufs[--io->n_idle]);
	lock_drop(&io->lock);
}
