package main

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
)

// killDescendants ends every process below this one, whatever session or
// namespace it went to, and returns when none is left. An orphan of a killed
// process becomes our child, so the walk is repeated until there is no child: a
// process that was born during a walk cannot get away.
func killDescendants() {
	for {
		for _, pid := range descendants(os.Getpid()) {
			// Already gone is as good as killed.
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		pid, err := syscall.Wait4(-1, nil, 0, nil)
		if pid < 0 && err != syscall.EINTR {
			return
		}
	}
}

// descendants lists all processes below root, parents before children.
func descendants(root int) []int {
	children := childrenByParent()
	found := children[root]
	for i := 0; i < len(found); i++ {
		found = append(found, children[found[i]]...)
	}
	return found
}

func childrenByParent() map[int][]int {
	children := map[int][]int{}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return children
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + entry.Name() + "/stat")
		if err != nil {
			continue // ended meanwhile
		}
		// "PID (NAME) STATE PPID ...": a name may hold spaces and parentheses.
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) < 2 {
			continue
		}
		if parent, err := strconv.Atoi(string(fields[1])); err == nil {
			children[parent] = append(children[parent], pid)
		}
	}
	return children
}
