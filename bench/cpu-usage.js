/** Loaded into every server: tells the benchmark its CPU time, and exits when the benchmark does. */
process.on('message', () => process.send(process.cpuUsage()));
process.on('disconnect', () => process.exit());
