#!/usr/bin/python3
"""Independent probe of the FastDFS wire protocol, written from the spec in FASTDFS.md.
usage: probe.py TRACKER_HOST TRACKER_PORT   (prints request/response hex and decoded fields)"""
import os,socket,struct,sys,base64,binascii,time
WAIT=float(os.environ.get('PROBE_WAIT') or 0.3) # for the server to close
TH,TP=sys.argv[1],int(sys.argv[2])
def rx(s,n):
    b=b''
    while len(b)<n:
        c=s.recv(n-len(b))
        if not c: raise EOFError('closed after %d/%d'%(len(b),n))
        b+=c
    return b
def call(addr,cmd,body=b'',status=0,quiet=False,label='',sock=None):
    s=sock or socket.create_connection(addr,5)
    req=struct.pack('>qBB',len(body),cmd,status)+body
    s.sendall(req); h=rx(s,10); ln,rc,st=struct.unpack('>qBB',h); rb=rx(s,ln) if ln else b''
    if not quiet:
        print('== %s cmd=%d status_in=%d'%(label,cmd,status))
        print('   req  %s%s'%(req[:120].hex(),'...(%d)'%len(req) if len(req)>120 else ''))
        print('   resp len=%d cmd=%d status=%d body=%s%s'%(ln,rc,st,rb[:120].hex(),'...' if len(rb)>120 else ''))
    closed=None
    if sock is None:
        s.settimeout(WAIT)
        try: closed = (s.recv(1)==b'')
        except socket.timeout: closed=False
        except ConnectionResetError: closed=True
        if not quiet: print('   server closed connection after response:',closed)
        s.close()
    return st,rb
def g16(g): return g.encode().ljust(16,b'\0')
def z(b): return b.split(b'\0')[0].decode('latin1')
def b64d(s): 
    s=s.replace('-','+').replace('_','/'); s+='='*(-len(s)%4); return base64.b64decode(s)
def decode_id(fn):
    raw=b64d(fn[10:37]); ip=raw[0:4]; ts,=struct.unpack('>I',raw[4:8]); sz,=struct.unpack('>Q',raw[8:16]); crc,=struct.unpack('>I',raw[16:20])
    d=dict(raw=raw.hex(),ip='.'.join(map(str,ip)),ts=ts,size_field='%016x'%sz,crc='%08x'%crc,len=len(fn),
      rnd=bool(sz>>63),trunk=bool(sz>>59&1),appender=bool(sz>>58&1),size=sz&0xffffffff if sz>>63 else sz)
    if d['trunk'] and len(fn)>=60:
        t=b64d(fn[37:53]); d['trunk_id'],d['trunk_off'],d['trunk_alloc']=struct.unpack('>iii',t)
    return d
T=(TH,TP)
def upload(sa,idx,data,ext='bin',cmd=11,label='upload',quiet=False):
    return call(sa,cmd,struct.pack('>Bq',idx&0xff,len(data))+ext.encode().ljust(6,b'\0')+data,label=label,quiet=quiet)
if __name__=='__main__':
    call(T,111,label='active_test')
    st,b=call(T,101,label='query_store_without_group_one'); grp=z(b[:16]); ipw=len(b)-16-9; sa=(z(b[16:16+ipw]),struct.unpack('>q',b[16+ipw:24+ipw])[0]); idx=b[-1]
    print('   ->',grp,sa,'path index',idx,'ip width',ipw)
    call(T,104,g16(grp),label='query_store_with_group_one'); call(T,104,g16('nogroup'),label='query_store_with_group_one (unknown group)')
    call(T,106,label='query_store_without_group_all'); call(T,107,g16(grp),label='query_store_with_group_all')
    data=b'hello fastdfs '*100
    st,b=upload(sa,idx,data,'txt'); g,fn=z(b[:16]),b[16:].decode(); print('   -> id',g+'/'+fn,decode_id(fn)); assert decode_id(fn)['crc']=='%08x'%(binascii.crc32(data)&0xffffffff)
    body=g16(g)+fn.encode()
    call(T,102,body,label='query_fetch_one'); call(T,103,body,label='query_update'); call(T,105,body,label='query_fetch_all')
    call(sa,14,struct.pack('>qq',0,0)+body,label='download all'); call(sa,14,struct.pack('>qq',6,7)+body,label='download range 6,7')
    call(sa,14,struct.pack('>qq',len(data),0)+body,label='download offset==size'); call(sa,14,struct.pack('>qq',len(data)-3,100)+body,label='download bytes beyond end')
    call(sa,15,body,label='get_metadata (none set)')
    m=b'width\x02100\x01author\x02bob'
    sm=lambda m,f: struct.pack('>qq',len(fn),len(m))+f+body+m
    call(sa,13,sm(m,b'O'),label='set_metadata O'); call(sa,15,body,label='get_metadata')
    call(sa,13,sm(b'height\x02200\x01width\x02999',b'M'),label='set_metadata M'); st,b=call(sa,15,body,label='get_metadata after merge'); print('   ->',b)
    call(sa,13,sm(b'',b'O'),label='set_metadata O empty'); call(sa,15,body,label='get_metadata after clearing')
    call(sa,22,body,label='query_file_info normal'); call(sa,22,body,status=3,label='query_file_info flags=3')
    # slave
    pre='_150x150'; st,b=call(sa,21,struct.pack('>qq',len(fn),5)+pre.encode().ljust(16,b'\0')+b'jpg'.ljust(6,b'\0')+fn.encode()+b'SLAVE',label='upload_slave'); sl=b[16:].decode(); print('   -> slave',sl)
    call(sa,22,g16(g)+sl.encode(),label='query_file_info slave'); call(T,102,g16(g)+sl.encode(),label='query_fetch slave')
    call(sa,21,struct.pack('>qq',len(fn),5)+pre.encode().ljust(16,b'\0')+b'jpg'.ljust(6,b'\0')+fn.encode()+b'SLAVE',label='upload_slave again (EEXIST)')
    # appender
    st,b=upload(sa,idx,b'A'*10,'log',cmd=23,label='upload_appender'); ap=b[16:].decode(); print('   ->',ap,decode_id(ap)); abody=g16(g)+ap.encode()
    call(sa,24,struct.pack('>qq',len(ap),5)+ap.encode()+b'BBBBB',label='append'); call(sa,34,struct.pack('>qqq',len(ap),2,3)+ap.encode()+b'CCC',label='modify')
    call(sa,34,struct.pack('>qqq',len(ap),999,3)+ap.encode()+b'CCC',label='modify past end')
    call(sa,36,struct.pack('>qq',len(ap),7)+ap.encode(),label='truncate'); st,b=call(sa,14,struct.pack('>qq',0,0)+abody,label='download appender'); print('   ->',b)
    call(sa,22,abody,label='query_file_info appender')
    st,b=call(sa,38,ap.encode(),label='regenerate_appender_filename'); nf=b[16:].decode(); print('   ->',nf,decode_id(nf))
    call(sa,24,struct.pack('>qq',len(fn),5)+fn.encode()+b'BBBBB',label='append to a normal file (error)')
    call(sa,12,g16(g)+sl.encode(),label='delete slave'); call(sa,12,body,label='delete'); call(sa,12,body,label='delete again'); call(sa,12,g16('wrong')+fn.encode(),label='delete wrong group'); call(sa,99,b'',label='unknown command')
    call(sa,11,struct.pack('>Bq',0xff,3)+b'a'.ljust(6,b'\0')+b'xyz',label='upload path index 0xff (let the storage choose)')
    call(sa,11,struct.pack('>Bq',9,3)+b'a'.ljust(6,b'\0')+b'xyz',label='upload bad path index'); call(sa,11,struct.pack('>Bq',0,3)+b'a/b'.ljust(6,b'\0')+b'xyz',label='upload bad ext')
    st,b=call(sa,11,struct.pack('>Bq',0,0)+b''.ljust(6,b'\0'),label='upload empty, no ext'); ef=b[16:].decode(); print('   ->',ef,decode_id(ef)); call(sa,14,struct.pack('>qq',0,0)+g16(g)+ef.encode(),label='download empty file')
    st,b=call(T,91,label='list_groups'); print('   rows of 113:',len(b)/113); call(T,90,g16(g),label='list_one_group')
    st,b=call(T,92,g16(g),label='list_storages'); print('   487 rows:',len(b)/487,'517 rows:',len(b)/517); call(T,92,g16(g)+sa[0].encode(),label='list_storages one id'); call(T,92,g16(g)+b'1.2.3.4',label='list_storages unknown id')
    call(T,95,label='get_leader'); call(T,96,b'\0\0\0',label='tracker_cluster_stat'); call(T,97,b'\0\0\0\0',label='storage_cluster_stat'); call(T,98,b'\0\0\0\0',label='volume_stat')
    call(T,69,struct.pack('>iB',0,1),label='fetch_storage_ids allow_empty'); call(T,69,struct.pack('>i',0),label='fetch_storage_ids old 4 byte'); st,b=call(T,75,label='parameter_req'); print(b.decode())
    call(T,71,g16(g)+('%s:%d'%sa).encode(),label='get_storage_status'); call(T,70,g16(g)+('%s:%d'%sa).encode(),label='get_server_id'); call(T,64,label='tracker_status'); call(T,109,struct.pack('>i',23000),label='get_group_name')
    call(T,102,g16(g)+b'M00/00',label='query_fetch short filename'); call(T,77,label='changelog_req not logged in'); call(T,93,g16(g)+sa[0].encode(),label='delete_storage (active)'); call(T,108,g16(g),label='delete_group (not empty)')
    s=socket.create_connection(T); s.sendall(struct.pack('>qBB',0,82,0)); s.settimeout(1)
    try: print('quit ->',s.recv(10))
    except Exception as e: print('quit ->',e)
