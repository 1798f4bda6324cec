#!/bin/bash
# Third call: the rest of what the second made.
cd /tmp/o && for name in delayed-512 coarse-1024 coarse-512 semantic-stage-1024 semantic-stage-512 fine; do tar cf "$OUT/$name.tar" "$name"; done
ls -la "$OUT"
