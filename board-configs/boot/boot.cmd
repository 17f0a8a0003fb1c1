# Which slot U-Boot starts: the rules of nesos_base::slots::State in U-Boot's words. The builder puts `setenv nesos_tree ...` before it
# and makes it boot.scr. Numbers are hexadecimal. Nothing of U-Boot's own saved environment is read or written: the record stands in
# two raw sectors before the first partition, and only a slot on trial has a counter.
setenv nesos_slot
setenv nesos_trial
setenv nesos_tries
setenv nesos_read no
setenv nesos_more
test -n "${distro_bootpart}" || setenv distro_bootpart 1
setenv nesos_from "${devtype} ${devnum}:${distro_bootpart}"
${devtype} dev ${devnum}
for nesos_block in 10 18; do
  if test ${nesos_read} = no; then
    if ${devtype} read ${ramdisk_addr_r} ${nesos_block} 1 && env import -c ${ramdisk_addr_r} 200 nesos_slot nesos_trial nesos_tries; then
      if test "${nesos_slot}" = a -o "${nesos_slot}" = b; then setenv nesos_read yes; fi
    fi
  fi
done
if test ${nesos_read} = no; then
  echo "nesos: no boot record can be read; the mark of a committed slot decides"
  setenv nesos_trial -
  setenv nesos_tries 0
  if test -e ${nesos_from} slot-a/committed; then setenv nesos_slot a;
  elif test -e ${nesos_from} slot-b/committed; then setenv nesos_slot b;
  else setenv nesos_slot a; fi
fi
if test ${nesos_slot} = a; then setenv nesos_other b; else setenv nesos_other a; fi

# The record is written before the trial starts, copy 1 first: whenever the power fails, one copy is whole.
setenv nesos_start ${nesos_slot}
if test "${nesos_trial}" = ${nesos_other}; then
  setenv nesos_left none
  if test "${nesos_tries}" = 1; then setenv nesos_left 0; fi
  if test "${nesos_tries}" = 2; then setenv nesos_left 1; fi
  if test "${nesos_tries}" = 3; then setenv nesos_left 2; fi
  setenv nesos_more nesos.fallback=${nesos_other}
  if test ${nesos_left} != none; then
    setenv nesos_tries ${nesos_left}
    if env export -c -s 200 ${ramdisk_addr_r} nesos_slot nesos_trial nesos_tries && ${devtype} write ${ramdisk_addr_r} 18 1 && ${devtype} write ${ramdisk_addr_r} 10 1; then
      setenv nesos_start ${nesos_other}
      setenv nesos_more nesos.trial=1
    else
      echo "nesos: a try cannot be counted on this disk: slot ${nesos_other} is not tried"
    fi
  fi
fi

# The kernel is packed; U-Boot unpacks what is damaged as well, so the sum at the end of the file is compared with that of the unpacked
# kernel. In the file it is little endian; U-Boot for a Raspberry Pi writes it so, U-Boot for QEMU the other way round. Without an initial
# RAM disk its place is free for the packed kernel.
setenv nesos_kernel 'load ${nesos_from} ${ramdisk_addr_r} slot-${nesos_start}/Image.gz && setexpr nesos_e0 ${ramdisk_addr_r} + ${filesize} && unzip ${ramdisk_addr_r} ${kernel_addr_r} 2000000 && crc32 ${kernel_addr_r} ${filesize} ${pxefile_addr_r} && setexpr nesos_e0 ${nesos_e0} - 8 && run nesos_sum'
setenv nesos_sum 'cmp.b ${pxefile_addr_r} ${nesos_e0} 4 || run nesos_mus'
setenv nesos_mus 'setexpr nesos_e1 ${nesos_e0} + 1; setexpr nesos_e2 ${nesos_e0} + 2; setexpr nesos_e3 ${nesos_e0} + 3; setexpr nesos_s1 ${pxefile_addr_r} + 1; setexpr nesos_s2 ${pxefile_addr_r} + 2; setexpr nesos_s3 ${pxefile_addr_r} + 3; cmp.b ${nesos_s3} ${nesos_e0} 1 && cmp.b ${nesos_s2} ${nesos_e1} 1 && cmp.b ${nesos_s1} ${nesos_e2} 1 && cmp.b ${pxefile_addr_r} ${nesos_e3} 1'
setenv nesos_tree_firmware 'setenv nesos_fdt ${fdt_addr}; test -n "${nesos_fdt}" || setenv nesos_fdt ${fdtcontroladdr}'
setenv nesos_tree_slot 'setexpr nesos_file sub ".*/" "" ${fdtfile} && load ${nesos_from} ${fdt_addr_r} slot-${nesos_start}/${nesos_file} && setenv nesos_fdt ${fdt_addr_r}'
setenv nesos_boot 'setenv cmdline; load ${nesos_from} ${pxefile_addr_r} slot-${nesos_start}/boot.env && env import -t ${pxefile_addr_r} ${filesize} cmdline && test -n "${cmdline}" && run nesos_kernel && run nesos_tree_${nesos_tree} && setenv bootargs "${cmdline} nesos.slot=${nesos_start} nesos.boot=uboot ${nesos_more}" && booti ${kernel_addr_r} - ${nesos_fdt}'
echo "nesos: slot ${nesos_start} ${nesos_more}"
run nesos_boot
echo "nesos: slot ${nesos_start} does not start"
setenv nesos_more nesos.fallback=${nesos_start}
if test ${nesos_start} = a; then setenv nesos_start b; else setenv nesos_start a; fi
echo "nesos: slot ${nesos_start} ${nesos_more}"
run nesos_boot
echo "nesos: slot ${nesos_start} does not start either. Write this card again, or wait: next attempt in 10 s"
sleep 10
reset
