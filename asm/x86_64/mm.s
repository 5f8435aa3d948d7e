# The kernel heap for modules. Mirrors mm/slab_common.c, mm/slub.c, mm/util.c, mm/vmalloc.c, kernel/rcu/tree.c
# (kfree_rcu). src/mm has the host functions, src/kernel/slab.ts is the allocator.

.section .text

.macro MM_FUNC name:req
HOST_FUNC \name
EXPORT_SYMBOL(\name)
.endm
.macro MM_FUNC_GPL name:req
HOST_FUNC \name
EXPORT_SYMBOL_GPL(\name)
.endm

# kmalloc(): sizes known at compile time come through kmalloc_trace() with a cache of kmalloc_caches
MM_FUNC __kmalloc
MM_FUNC __kmalloc_node
MM_FUNC kmalloc_trace
MM_FUNC kmalloc_node_trace
MM_FUNC kmalloc_large
MM_FUNC kmalloc_large_node
MM_FUNC krealloc
MM_FUNC kfree
MM_FUNC kfree_sensitive
MM_FUNC ksize
MM_FUNC kvmalloc_node
MM_FUNC kvfree

# pages of their own
MM_FUNC vmalloc
MM_FUNC vzalloc
MM_FUNC __vmalloc
MM_FUNC vfree
MM_FUNC __get_free_pages
MM_FUNC get_zeroed_page
MM_FUNC free_pages

# copies
MM_FUNC kstrdup
MM_FUNC kstrdup_const
MM_FUNC kfree_const
MM_FUNC kstrndup
MM_FUNC kmemdup
MM_FUNC kmemdup_nul

# caches of their own
MM_FUNC kmem_cache_create
MM_FUNC kmem_cache_alloc
MM_FUNC kmem_cache_free
MM_FUNC kmem_cache_destroy

.ifdef REAL_KERNEL
# What code of a real kernel, and modules for it, ask besides
MM_FUNC __kmalloc_node_track_caller
MM_FUNC krealloc_node_align
MM_FUNC __ksize
MM_FUNC kmem_cache_alloc_lru
MM_FUNC kmem_cache_alloc_node
MM_FUNC kmem_cache_alloc_bulk
MM_FUNC kmem_cache_free_bulk
MM_FUNC kmem_cache_create_usercopy
MM_FUNC __kmem_cache_create_args
MM_FUNC __alloc_pages
HOST_FUNC __alloc_frozen_pages
HOST_FUNC free_unref_page
HOST_FUNC __free_pages_ok
HOST_FUNC __free_frozen_pages
MM_FUNC vmalloc_node
MM_FUNC vzalloc_node
MM_FUNC __vmalloc_node
MM_FUNC __vmalloc_node_range

# void __percpu *pcpu_alloc(rdi size, rsi align, rdx reserved, rcx gfp), void free_percpu(rdi pointer)
HOST_FUNC pcpu_alloc
MM_FUNC_GPL free_percpu

MM_FUNC_GPL call_rcu
MM_FUNC_GPL rcu_barrier
MM_FUNC_GPL synchronize_rcu_expedited
HOST_FUNC rcu_core
.endif

# void kvfree_call_rcu(rdi head, rsi offset): kfree_rcu(). A NULL head is kfree_rcu_mightsleep(), of rsi.
MM_FUNC_GPL kvfree_call_rcu
MM_FUNC_GPL synchronize_rcu

# The cache of each size, by kind and by the logarithm of the size; src/mm/caches.ts fills it.
# struct kmem_cache *kmalloc_caches[NR_KMALLOC_TYPES][KMALLOC_SHIFT_HIGH + 1]
.section .data
SYM_DATA_START(kmalloc_caches)
    .skip   4 * 14 * 8
SYM_DATA_END(kmalloc_caches)
EXPORT_SYMBOL(kmalloc_caches)
