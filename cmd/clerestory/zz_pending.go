package main

type logCmd struct{}
type monitorCmd struct{}
type backupCmd struct{}
type restoreCmd struct{}
type completionCmd struct{}
type manCmd struct{}
type versionCmd struct{}
type personCmd struct{}
