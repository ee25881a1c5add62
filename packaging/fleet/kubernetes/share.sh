#!/bin/sh
# Makes the node's shared directory as the package's tmpfiles.d does, for the group by which runner pods join (supplementalGroups). One
# that is there already, of a package on the node say, is left as it is: pods then take the number of its group.
set -eu
group=${1:-2617}
cd /run/disk-guard
[ ! -d leases ] || exit 0
chgrp "$group" .
chmod 2755 .
: >>host.lock
chgrp "$group" host.lock
chmod 660 host.lock
for each in requests tickets counters hooks leases; do
    mkdir -p "$each"
    chgrp "$group" "$each"
    chmod 1770 "$each"
done
