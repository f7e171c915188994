// GTUBE: what EICAR is for mail filters (spamassassin.apache.org/gtube).
rule GTUBE_Test_Mail : test mail
{
  meta:
    description = "The generic test for unsolicited bulk email"
    reference = "https://spamassassin.apache.org/gtube/"
    severity = 0
  strings:
    $gtube = { 58 4A 53 2A 43 34 4A 44 42 51 41 44 4E 31 2E 4E 53 42 4E 33 2A 32 49 44 4E 45 4E 2A
               47 54 55 42 45 2D 53 54 41 4E 44 41 52 44 2D 41 4E 54 49 2D 55 42 45 2D 54 45 53 54 2D
               45 4D 41 49 4C 2A 43 2E 33 34 58 }
  condition:
    $gtube
}
