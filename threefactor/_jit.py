"""The one decorator of every kernel: numba's options and a cache that knows when the sources changed.

numba's own cache compares the time stamp of the file a kernel stands in and misses an edit in a file that it calls.
Here the cache folder is named by a hash of all kernel sources, so an edit anywhere starts a fresh folder, and a copy
of the package in a container or a read-only install finds the folder of the same sources again.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, TypeVar, cast

import numba
import numpy.typing as npt
from numba.core import types
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator
from numba.core.cgutils import unpack_tuple
from numba.extending import intrinsic, overload
from numba.np.arrayobj import make_array, populate_array

from threefactor._bare import HOLDS, Bare

F = TypeVar("F", bound=Callable[..., Any])


def cache_root() -> Path:
    """Folder under which compiled kernels are kept: ``THREEFACTOR_CACHE_DIR``, else the user's cache folder."""
    given = os.environ.get("THREEFACTOR_CACHE_DIR")
    if given:
        return Path(given)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "threefactor"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "threefactor"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "threefactor"


@functools.cache
def _stamp(package: str) -> str:
    """Hash of the sources of all kernels that a kernel of this package may call: the engine's and the package's own."""
    digest = hashlib.sha256(numba.__version__.encode())
    root = Path(__file__).parent.parent
    for folder in sorted({"threefactor", package}):
        for file in sorted((root / folder).glob("*.py")):
            source = file.read_bytes()
            if b"_jit import" in source or b"numba" in source:
                digest.update(file.name.encode() + source)
    return digest.hexdigest()[:16]


class _Locator(_CacheLocator):  # type: ignore[misc]
    """Places a kernel's cache by the hash of the sources, not by a path and a time."""

    def __init__(self, py_func: Callable[..., Any], py_file: str) -> None:
        self._name = f"{py_func.__module__}.{py_func.__code__.co_firstlineno}"
        self._stamp = _stamp(py_func.__module__.partition(".")[0])

    def get_cache_path(self) -> str:
        return str(cache_root() / self._stamp)

    def get_source_stamp(self) -> str:
        return self._stamp

    def get_disambiguator(self) -> str:
        return self._name

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> _Locator | None:
        locator = cls(py_func, py_file)
        try:
            locator.ensure_cache_path()
        except OSError:
            return None
        return locator


class _CacheImpl(CompileResultCacheImpl):  # type: ignore[misc]
    _locator_classes: ClassVar[list[type[_CacheLocator]]] = [_Locator]


class _Cache(FunctionCache):  # type: ignore[misc]
    _impl_class = _CacheImpl


def kernel(function: F) -> F:
    """Compile `function` with the options that every kernel of this package shares.

    A kernel takes arrays and numbers, writes in place, and neither validates, allocates nor raises. Where the cache
    folder cannot be written the kernel is compiled in each process anew.

    No fast-math flag is set: with them the compiler may round differently in each copy of a kernel that it makes, and
    the same seed gave another run in the process that compiled than in those that loaded from the cache.
    """
    return cast(F, _lazy(function))


def disjoint(function: F) -> F:
    """As `kernel`, for one that writes to no memory that another of its arguments covers, too.

    A loop over several arrays first asks, each time, whether any two of them overlap, and where there are too many to
    ask for it takes one entry at a time. This promise spares both; nothing checks it.
    """
    compiled = _lazy(function)
    if hasattr(compiled, "_compiler"):
        customize = compiled._compiler._customize_flags

        def promise(flags: Any) -> Any:
            flags = customize(flags)
            flags.noalias = True
            return flags

        compiled._compiler._customize_flags = promise
    return cast(F, compiled)


def _lazy(function: Any) -> Any:
    compiled = numba.njit(nogil=True, error_model="numpy")(function)
    if hasattr(compiled, "enable_caching"):  # absent under NUMBA_DISABLE_JIT=1
        with contextlib.suppress(RuntimeError):  # no writable folder
            compiled._cache = _Cache(compiled.py_func)
    return compiled


def entry(function: F, *like: Any) -> F:
    """The machine code of a kernel for arguments of these types, as a callable that skips numba's search for it.

    That search takes as long as a small network's forward pass. What is called must get the very types of `like`; of
    arrays it takes contiguous rows, and others with a size of -1, where `HOLDS`.
    """
    if not hasattr(function, "overloads"):  # numba is switched off
        return function
    return _compiled(function, like).entry_point  # type: ignore[no-any-return]


def address(function: Callable[..., Any], *like: Any) -> Any:
    """Where the machine code of a kernel for arguments of these types starts; `call` takes it, in compiled code.

    A kernel can so be handed to another that was compiled before it was written, and is not compiled into it.
    """
    if not hasattr(function, "overloads"):
        return function
    found = _compiled(function, like)
    return found.library.get_pointer_to_function(found.fndesc.llvm_func_name)


def _compiled(function: Any, like: tuple[Any, ...]) -> Any:
    kinds = (kind if isinstance(kind, types.Type) else numba.typeof(kind) for kind in like)
    signature = tuple(
        Bare(kind.dtype) if HOLDS and isinstance(kind, types.Array) and (kind.ndim, kind.layout) == (1, "C") else kind
        for kind in kinds
    )
    function.compile(signature)
    return function.overloads[signature]


def call(at: Any, answer: Any, *given: Any) -> Any:
    """Call the kernel at an `address`. It must answer with the type of `answer` and take the very types of `given`."""
    return at(*given)


def window(flat: npt.NDArray[Any], start: int, stop: int) -> npt.NDArray[Any]:
    """View of entries `start` to `stop` of a contiguous row of numbers; unchecked in compiled code."""
    return flat[start:stop]


def grid(flat: npt.NDArray[Any], start: int, stop: int, columns: int) -> npt.NDArray[Any]:
    """As `window`, cut into rows of `columns` entries."""
    return flat[start:stop].reshape((stop - start) // columns, columns)


# In compiled code a slice counts references with a locked instruction and a reshape calls into a library; a tick cuts a
# hundred views, and spent a sixth of its time so. These hold a bare pointer: the array must outlive them, and does, as
# the caller of the outermost kernel holds it.


@intrinsic  # type: ignore[untyped-decorator]
def _cut(typing_context: Any, flat: Any, start: Any, shape: Any) -> Any:
    row_of = getattr(flat.dtype, "array", None)  # of lanes, see `_seeds`
    cut = row_of(len(shape)) if row_of else types.Array(flat.dtype, len(shape), "C")

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = builder.gep(make_array(signature.args[0])(context, builder, arguments[0]).data, [arguments[1]])
        item = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(flat.dtype)))
        sizes = unpack_tuple(builder, arguments[2])
        strides = [item] if len(sizes) == 1 else [builder.mul(item, sizes[1]), item]
        array = make_array(cut)(context, builder)
        populate_array(array, data=data, shape=sizes, strides=strides, itemsize=item, meminfo=None)
        return array._getvalue()

    return cut(flat, types.intp, shape), generate


@intrinsic  # type: ignore[untyped-decorator]
def _call(typing_context: Any, at: Any, answer: Any, given: Any) -> Any:
    kinds, result = tuple(given), types.unliteral(answer)  # type: ignore[attr-defined]

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        convention = context.call_conv
        pointer = builder.inttoptr(arguments[0], convention.get_function_type(result, kinds).as_pointer())
        values = unpack_tuple(builder, arguments[2])
        return convention.call_function(builder, pointer, result, kinds, values)[1]  # kernels do not raise

    return result(at, answer, given), generate


@overload(call)
def _call_from_kernels(at, answer, *given):  # type: ignore[no-untyped-def]
    return lambda at, answer, *given: _call(at, answer, given)


@overload(window)
def _window(flat, start, stop):  # type: ignore[no-untyped-def]
    return lambda flat, start, stop: _cut(flat, start, (stop - start,))


@overload(grid)
def _grid(flat, start, stop, columns):  # type: ignore[no-untyped-def]
    return lambda flat, start, stop, columns: _cut(flat, start, ((stop - start) // columns, columns))
