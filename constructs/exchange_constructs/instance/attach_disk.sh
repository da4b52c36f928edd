#!/bin/bash
# Attach and mount the node's own disk. The host before this one may still hold it, so it is tried for ten minutes; a
# host that does not get it powers off, and its group starts another.
set -euo pipefail

metadata() {
    local token
    token=$(curl --fail --silent --request PUT --header "X-aws-ec2-metadata-token-ttl-seconds: 60" http://169.254.169.254/latest/api/token)
    curl --fail --silent --header "X-aws-ec2-metadata-token: $token" "http://169.254.169.254/latest/meta-data/$1"
}

instance=$(metadata instance-id)
device=/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_${VOLUME/-/}
for _ in $(seq 60); do
    [ -e "$device" ] && break
    aws ec2 attach-volume --volume-id "$VOLUME" --instance-id "$instance" --device /dev/sdf || true
    sleep 10
done
[ -e "$device" ] || { echo "disk $VOLUME was not attached within ten minutes" >&2; systemctl poweroff; exit 1; }
# Only a disk without any file system is formatted: `blkid` finds nothing on it and says so with status 2.
blkid "$device" || { [ $? -eq 2 ] && mkfs.xfs "$device"; }
install -d -m 0755 "$DATA"
mount -o nodev,nosuid,noexec "$device" "$DATA"
chown node:node "$DATA"
chmod 0700 "$DATA"
