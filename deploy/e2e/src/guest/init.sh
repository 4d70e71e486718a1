export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs run /run
# The kernel loads what it is asked for: transforms, ciphers.
echo "$folder/modprobe" >/proc/sys/kernel/modprobe
"$folder/modprobe" ipv6
ip link set lo up
ip link set vec0 up
ip address add "$ipv4" dev vec0
ip address add "$ipv6" dev vec0 nodad
# Each line is a command. Its output goes to a connection of its own, at last its status.
exec 3<>"$door"
while read -r command <&3; do
  { (eval "$command"); echo "status $?"; } >"$door" 2>&1 </dev/null 3<&- &
done
# The kernel panics when its first process ends.
echo o >/proc/sysrq-trigger
sleep 60
