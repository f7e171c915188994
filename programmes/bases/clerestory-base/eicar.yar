// EICAR's test file (eicar.org): a harmless program of 68 printable bytes, that
// every scanner agrees to find. Written in hex, so that this file is not found.
rule EICAR_Test_File : test
{
  meta:
    description = "The EICAR anti-malware test file"
    reference = "https://www.eicar.org/download-anti-malware-testfile/"
    severity = 0
  strings:
    $eicar = { 58 35 4F 21 50 25 40 41 50 5B 34 5C 50 5A 58 35 34 28 50 5E 29 37 43 43 29 37 7D 24   // X5O!P%@AP[4\PZX54(P^)7CC)7}$
               45 49 43 41 52 2D 53 54 41 4E 44 41 52 44 2D 41 4E 54 49 56 49 52 55 53 2D            // EICAR-STANDARD-ANTIVIRUS-
               54 45 53 54 2D 46 49 4C 45 21 24 48 2B 48 2A }                                          // TEST-FILE!$H+H*
  condition:
    // The standard allows white space after it, up to 128 bytes in all.
    $eicar at 0 and filesize <= 128
}
