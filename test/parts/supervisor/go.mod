module warmboot.dev/test/supervisor

go 1.26.0
