import "pe"

// ClamAV's test program, as Debian ships it in clamav-testfiles: 544 bytes that
// show a message. Packed and archived copies are found by ClamAV, which unpacks.
rule ClamAV_Test_Program : test
{
  meta:
    description = "clam.exe of clamav-testfiles"
    severity = 0
  strings:
    $mark = "[CLAMAV]" ascii
    $import = "CLAMessageBoxA"
  condition:
    pe.is_pe and filesize < 1KB and all of them
}
