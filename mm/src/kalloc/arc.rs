//! stub (D): a reference-counted box whose making can fail.
/// Shared ownership, fallible to make; Clone is infallible.
pub struct KArc<T>(core::marker::PhantomData<T>);
impl<T> KArc<T> {
    /// new
    pub fn try_new(_v: T) -> Result<Self, crate::error::OutOfMemory> {
        todo!()
    }
    /// same object
    pub fn ptr_eq(_a: &Self, _b: &Self) -> bool {
        todo!()
    }
}
impl<T> Clone for KArc<T> {
    fn clone(&self) -> Self {
        todo!()
    }
}
impl<T> core::ops::Deref for KArc<T> {
    type Target = T;
    fn deref(&self) -> &T {
        todo!()
    }
}
