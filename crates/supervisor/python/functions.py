"""Calls one Python function for poolctl: items and results are JSON. The second half of a script; see `link.py`.

Started as `python3 /proc/self/fd/6 MODULE_OR_FILE FUNCTION`.
"""

HINTS = {
    "generator": "return a list of what it yields", "async_generator": "return a list of what it yields",
    "map": "return list(…) of it", "filter": "return list(…) of it", "range": "return list(…) of it",
    "set": "return sorted(…) of it", "frozenset": "return sorted(…) of it", "bytes": "return .decode() or .hex() of it",
    "datetime": "return .isoformat() of it", "date": "return .isoformat() of it", "Decimal": "return str(…) of it",
    "ndarray": "return .tolist() of it", "int64": "return .item() of it", "float64": "return .item() of it",
}


def refuse_object(value):
    hint = HINTS.get(type(value).__name__)
    raise Refusal("TypeError", f"the function returned a value of type `{qualified(type(value))}`, "
                  f"which JSON cannot express{'; ' + hint if hint else ''}")


decode, encode, quote = make_codec(refuse_object)


def refuse_float(value):
    raise Refusal("ValueError", f"the function returned {value!r}, which JSON cannot express; return None or a string")


def encode_object(result):
    """The JSON of a result that is no plain number, string, bool or None; awaits it first if it is awaitable."""
    if hasattr(type(result), "__await__"):
        result = wait_for(result)
        if type(result) is float and result - result != 0:
            refuse_float(result)
    try:
        return encode(result).encode()
    except Refusal:
        raise
    except Exception as error:
        raise Refusal(qualified(type(error)), f"the function returned a `{qualified(type(result))}` "
                      f"that cannot be written as JSON: {message_of(error)}") from None


event_loop = []


def wait_for(awaitable):
    """Runs an awaitable to its end, in one event loop that is kept."""
    async def waiter():
        return await awaitable

    if not event_loop:
        import asyncio
        event_loop.append(asyncio.new_event_loop())
        asyncio.set_event_loop(event_loop[0])
    return event_loop[0].run_until_complete(waiter())


def spread(function):
    """`function` with an array spread over its parameters, or an object over its keywords."""
    def call(value):
        if type(value) is list:
            return function(*value)
        if type(value) is dict:
            return function(**value)
        raise TypeError(f"--starmap needs an array or an object for each item, not `{type(value).__name__}`")
    return call


def run(ring, function, values, item, is_timed):
    """Calls `function` on each of `values`, which are the items from `item` on, and publishes each reply at once.

    This is the one place where nanoseconds count; everything unusual goes to `ring.reply`.
    """
    memory, words, fence, clock, pack = ring.memory, ring.words, ring.fence, time.monotonic_ns, SMALL.pack_into
    phase_, activity_, small_text = phase, activity, -1 if is_timed else SMALL_TEXT
    at, base, last = ring.window()
    kick_at = ring.kick_at
    for value in values:
        now = clock()
        if now >= kick_at:
            ring.kick()
            now = clock()
            kick_at = ring.kick_at = now + KICK_NS
        words[1] = now
        words[0] = item
        head = OK_HEAD
        phase_[0] = CALL
        try:
            result = function(value)
            kind = type(result)
            if kind is int:
                text = b"%d" % result
            elif kind is str:
                text = quote(result).encode()
            elif result is None:
                text = b"null"
            elif kind is bool:
                text = b"true" if result else b"false"
            elif kind is float:
                text = repr(result).encode() if result - result == 0 else refuse_float(result)
            else:
                text = encode_object(result)
        except BaseException as error:
            head = ERR_HEAD
            text = describe(error)
        phase_[0] = LOOP
        if activity_:
            settle_activity(ring)
            at, base, last = ring.window()
        size = len(text)
        if size <= small_text and at <= last:
            pack(memory, at, head + size, item, text)
            at += 16 + size
            if fence:
                fence.release()
                fence.acquire()
            words[2] = base + at
        else:
            meta = b'{"ns":%d}' % (clock() - now) if is_timed else b""
            ring.reply(head >> 32, item, meta, text)
            at, base, last = ring.window()
        item += 1


def run_alone(ring, function, item, line, is_timed):
    """Runs one item of a batch that cannot be decoded as a whole: there are integers and depths Python cannot hold."""
    try:
        values = [decode(line.strip().decode())]
    except Exception as error:
        refusal = Refusal(qualified(type(error)), f"this item cannot be read: {message_of(error)}")
        values = [None]

        def function(_):
            raise refusal
    run(ring, function, values, item, is_timed)


def run_batch(ring, function, item, payload, is_timed):
    """Decodes a batch in one go and runs it."""
    lines = payload.rstrip(b"\n")
    phase[0] = LOOP
    try:
        values = decode("[" + lines.replace(b"\n", b",").decode() + "]")
    except Exception:
        for offset, line in enumerate(lines.split(b"\n")):
            run_alone(ring, function, item + offset, line, is_timed)
    else:
        run(ring, function, values, item, is_timed)
    # What a thread prints between batches goes to the descriptors, where the pipe limits it.
    phase[0] = DIRECT
    if activity:
        settle_activity(ring)
    ring.kick()


def not_found(type_name, message, word, candidates):
    import difflib
    near = difflib.get_close_matches(word, candidates, 1)
    return Refusal(type_name, message + (f"; did you mean `{near[0]}`?" if near else ""), 127)


def import_file(path):
    import importlib.util
    full = os.path.abspath(path)
    folder, file_name = os.path.split(full)
    if not os.path.isfile(full):
        siblings = os.listdir(folder) if os.path.isdir(folder) else []
        raise not_found("FileNotFoundError", f"there is no file `{path}`", file_name, siblings)
    if folder not in sys.path:
        sys.path.insert(1, folder)
    name = "poolctl_target" if file_name[:-3] in sys.modules else file_name[:-3]
    spec = importlib.util.spec_from_file_location(name, full)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def import_by_name(name):
    try:
        __import__(name)
        return sys.modules[name]
    except ModuleNotFoundError as error:
        if error.name is None or not (name + ".").startswith(error.name + "."):
            raise
        import pkgutil
        parent, dot, _ = error.name.rpartition(".")
        folders = getattr(sys.modules.get(parent), "__path__", []) if parent else None
        candidates = [parent + dot + found.name for found in pkgutil.iter_modules(folders)]
        reason = f"`{parent}` is no package" if folders == [] else f"on the path of {sys.executable}"
        raise not_found("ModuleNotFoundError", f"no module `{error.name}` ({reason})", error.name, candidates) from None


def find_function(target, path):
    """Imports the target and follows the dotted path of the function in it."""
    found = import_file(target) if target.endswith(".py") else import_by_name(target)
    place = target
    for name in path.split("."):
        if not hasattr(found, name):
            raise not_found("AttributeError", f"`{place}` has no function `{name}`", name, dir(found))
        found = getattr(found, name)
        place = f"{place}.{name}" if place != target else f"{target}:{name}"
    if not callable(found):
        raise Refusal("TypeError", f"`{place}` is not callable: it is a `{qualified(type(found))}`", 127)
    return found


def serve(target, path):
    ring = start_ring()
    is_timed = os.environ.pop("POOLCTL_TIMING", "") == "1"
    is_spread = os.environ.pop("POOLCTL_STARMAP", "") == "1"
    prepare_paths(target)
    os.register_at_fork(after_in_child=become_child)
    try:
        function = find_function(target, path)
    except BaseException as error:
        give_up_start(error)
    if is_spread:
        function = spread(function)
    say_hello(["claim", "batch"], functions=[path])
    inbox = ring.inbox
    while inbox.waiting or inbox.take():
        if inbox.waiting:
            kind, _, item, _, payload = inbox.waiting.pop(0)
            if kind in (TASK, BATCH):
                run_batch(ring, function, item, payload, is_timed)
    for loop in event_loop:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


if __name__ == "__main__":
    try:
        serve(sys.argv[1], sys.argv[2])
    except (BrokenPipeError, ConnectionResetError):
        # Nobody listens any more.
        phase[0] = DIRECT
