// Run by test_js.py: the AWS SDK for JavaScript v3 with its defaults (CRC32
// checksums). usage: node scenario.mjs URL BUCKET TREE
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { Readable } from 'node:stream';
import {
  S3Client, CreateBucketCommand, PutObjectCommand, GetObjectCommand,
  HeadObjectCommand, ListObjectsV2Command, DeleteObjectsCommand,
  DeleteBucketCommand, CopyObjectCommand, DeleteObjectCommand,
} from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';

const [url, Bucket, tree] = process.argv.slice(2);
const s3 = new S3Client({
  endpoint: url, region: 'us-east-1', forcePathStyle: true, maxAttempts: 1,
});
const bytes = async (r) => Buffer.from(await r.Body.transformToByteArray());

await s3.send(new CreateBucketCommand({ Bucket }));

const files = fs.readdirSync(tree, { recursive: true, withFileTypes: true })
  .filter((f) => f.isFile())
  .map((f) => path.join(f.path ?? f.parentPath, f.name));
for (const file of files) {
  const Key = path.relative(tree, file);
  await new Upload({
    client: s3, params: { Bucket, Key, Body: fs.createReadStream(file) },
  }).done();
  const got = await bytes(await s3.send(new GetObjectCommand({ Bucket, Key })));
  assert.ok(got.equals(fs.readFileSync(file)), Key);
}
let token;
const listed = [];
do {
  const page = await s3.send(new ListObjectsV2Command({
    Bucket, MaxKeys: 11, ContinuationToken: token,
  }));
  listed.push(...page.Contents.map((o) => o.Key));
  token = page.NextContinuationToken;
} while (token);
assert.deepEqual([...listed].sort(), files.map((f) => path.relative(tree, f)).sort());

// A stream of known length: aws-chunked with a trailing checksum.
await s3.send(new PutObjectCommand({
  Bucket, Key: 'stream', Body: Readable.from([Buffer.from('stre'), Buffer.from('amed')]),
  ContentLength: 8, Metadata: { a: 'b' },
}));
const head = await s3.send(new HeadObjectCommand({ Bucket, Key: 'stream', ChecksumMode: 'ENABLED' }));
assert.equal(head.ContentLength, 8);
assert.equal(head.Metadata.a, 'b');
assert.ok(head.ChecksumCRC32);
for (const ChecksumAlgorithm of ['CRC32C', 'SHA1', 'SHA256']) {
  await s3.send(new PutObjectCommand({ Bucket, Key: 'sum', Body: 'x', ChecksumAlgorithm }));
  const h = await s3.send(new HeadObjectCommand({ Bucket, Key: 'sum', ChecksumMode: 'ENABLED' }));
  assert.ok(h[`Checksum${ChecksumAlgorithm}`], ChecksumAlgorithm);
}
await assert.rejects(
  s3.send(new PutObjectCommand({ Bucket, Key: 'sum', Body: 'y', IfNoneMatch: '*' })),
  (e) => e.name === 'PreconditionFailed',
);
await s3.send(new CopyObjectCommand({ Bucket, Key: 'copy', CopySource: `${Bucket}/stream` }));
assert.equal((await bytes(await s3.send(new GetObjectCommand({ Bucket, Key: 'copy', Range: 'bytes=4-' })))).toString(), 'amed');
await assert.rejects(
  s3.send(new GetObjectCommand({ Bucket, Key: 'none' })), (e) => e.name === 'NoSuchKey');

const put = await getSignedUrl(s3, new PutObjectCommand({ Bucket, Key: 'pre signed' }));
const done = await fetch(put, { method: 'PUT', body: '' });
assert.equal(done.status, 200, await done.text());
const get = await getSignedUrl(s3, new GetObjectCommand({ Bucket, Key: 'stream' }));
assert.equal(await (await fetch(get)).text(), 'streamed');

await s3.send(new DeleteObjectCommand({ Bucket, Key: 'sum' }));
const all = await s3.send(new ListObjectsV2Command({ Bucket }));
await s3.send(new DeleteObjectsCommand({
  Bucket, Delete: { Objects: all.Contents.map((o) => ({ Key: o.Key })) },
}));
await s3.send(new DeleteBucketCommand({ Bucket }));
console.log('all good');
