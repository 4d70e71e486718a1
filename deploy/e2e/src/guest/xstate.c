/* The kernel of a guest knows 2,696 bytes of a processor's extended state. Where this machine's processor has more (AMX), its system
 * refuses to set less than all, and no process of the guest would run. Preloaded, this sets the rest to its initial state. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>

typedef long call(enum __ptrace_request, pid_t, void *, void *);

long ptrace(enum __ptrace_request request, ...)
{
	static call *system;
	static size_t length;
	static char whole[1 << 16];
	va_list arguments;
	va_start(arguments, request);
	pid_t process = va_arg(arguments, pid_t);
	void *address = va_arg(arguments, void *);
	void *data = va_arg(arguments, void *);
	va_end(arguments);
	if (!system)
		system = (call *)dlsym(RTLD_NEXT, "ptrace");
	struct iovec all = { whole, sizeof whole }, *given = data;
	if (request != PTRACE_SETREGSET || address != (void *)NT_X86_XSTATE)
		return system(request, process, address, data);
	if (!length && !system(PTRACE_GETREGSET, process, address, &all)) {
		length = all.iov_len;
		memset(whole, 0, length);
	}
	if (given->iov_len >= length)
		return system(request, process, address, data);
	memcpy(whole, given->iov_base, given->iov_len);
	all.iov_len = length;
	return system(request, process, address, &all);
}
