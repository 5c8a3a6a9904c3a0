// Two FastDFS clients from npm against a tracker: node scenario.mjs HOST PORT DIR
import assert from 'node:assert';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import util from 'node:util';
import Fdfs from 'fdfs';
import OldClient from 'fdfs-client';

const [host, port, dir] = process.argv.slice(2);
const quiet = { log() {}, debug() {}, info() {}, warn() {}, error() {} };
const options = () => ({
	trackers: [{ host, port: Number(port) }],
	timeout: 10000,
	defaultExt: 'bin',
	logger: quiet,
});
const file = (name) => path.join(dir, name);

async function fetched(download, id, range = {}) {
	const target = file('fetched-' + crypto.randomUUID());
	const stream = fs.createWriteStream(target);
	const closed = new Promise((done) => stream.on('close', done));
	await download(id, { target: stream, ...range });
	stream.end();
	await closed;
	return fs.readFileSync(target);
}

async function refused(promise) {
	await assert.rejects(Promise.resolve(promise));
}

async function newer() {
	const fdfs = new Fdfs(options());
	const download = (id, o) => fdfs.download(id, o);
	const body = crypto.randomBytes(300000);

	fs.writeFileSync(file('body.jpg'), body);
	for (const [what, more] of [
		[file('body.jpg'), {}],
		[body, { ext: 'jpg' }],
		[fs.createReadStream(file('body.jpg')), { size: body.length, ext: 'jpg' }],
		[body, { ext: 'jpg', group: 'group1' }],
	]) {
		const id = await fdfs.upload(what, more);
		assert.match(id, /^group1\/M00\/[0-9A-F]{2}\/[0-9A-F]{2}\/[-\w]{27}[0-9]{3}\.jpg$/);
		assert(body.equals(await fetched(download, id)));
		const part = await fetched(download, id, { offset: 100, bytes: 1000 });
		assert(body.subarray(100, 1100).equals(part));
		const info = await fdfs.getFileInfo(id);
		assert.equal(info.size, body.length);
		await fdfs.setMetaData(id, { author: 'bob', width: '100' });
		await fdfs.setMetaData(id, { width: '999' }, 'M');
		assert.deepEqual({ ...(await fdfs.getMetaData(id)) }, { author: 'bob', width: '999' });
		await fdfs.del(id);
		await refused(fdfs.getFileInfo(id));
	}
	const id = await fdfs.upload(Buffer.from('begin '), { ext: 'log', method: 'uploadAppender' });
	await fdfs.upload(Buffer.from('middle end'), { fileId: id, method: 'append' });
	await fdfs.upload(Buffer.from('MIDDLE'), { fileId: id, method: 'modify', offset: 6 });
	assert.equal((await fetched(download, id)).toString(), 'begin MIDDLE end');
}

async function older() {
	const fdfs = new OldClient(options());
	const call = (name) => util.promisify(fdfs[name].bind(fdfs));
	const body = crypto.randomBytes(70000);
	const id = await call('upload')(body, { ext: 'txt' });

	assert(body.equals(await fetched(call('download'), id)));
	await call('setMetaData')(id, { a: 'b' }, 'O');
	assert.deepEqual({ ...(await call('getMetaData')(id)) }, { a: 'b' });
	assert.equal((await call('getFileInfo')(id)).size, body.length);
	await call('del')(id);
	await refused(call('getFileInfo')(id));
}

await newer();
await older();
console.log('all good');
process.exit(0);
